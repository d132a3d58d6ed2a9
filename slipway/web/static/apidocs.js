"use strict";

// queryConfigEnabled stays false, so that ?url= and ?configUrl= load nothing.
const page = document.getElementById("swagger-ui");
SwaggerUIBundle({
  url: page.dataset.document,
  domNode: page,
  validatorUrl: null,
  queryConfigEnabled: false,
  deepLinking: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0,
});
