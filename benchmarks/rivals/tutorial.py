"""The classic tutorial: Flask, the pickle, and a DataFrame for each request."""

import io
import pickle
from pathlib import Path

import pandas as pd
from flask import Flask, Response, jsonify, request

app = Flask(__name__)

with (Path(__file__).parents[2] / "model.pkl").open("rb") as file:
    model = pickle.load(file)


@app.post("/predict")
def predict() -> Response:
    """Predict for one record, or for a list of them."""
    data = request.get_json()
    records = data if isinstance(data, list) else [data]
    probabilities = model.predict_proba(pd.DataFrame(records))[:, 1]
    answers = [{"probability": float(p), "late": bool(p >= 0.5)} for p in probabilities]
    return jsonify(answers if isinstance(data, list) else answers[0])


@app.post("/predict_file")
def predict_file() -> Response:
    """Predict for the rows of a CSV file."""
    rows = pd.read_csv(io.BytesIO(request.get_data()))
    rows["probability"] = model.predict_proba(rows)[:, 1]
    return Response(rows.to_csv(index=False), mimetype="text/csv")
