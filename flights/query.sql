-- One row a flight: what is known before it leaves, and whether it arrived late.
-- DuckDB's dialect, kept to what other engines understand too (docs/data.md), with hours
-- counted as integers since 1970 (hour_id). The hour in UTC is the key to the weather: the
-- local hour comes twice when summer time ends.
WITH departures AS (
    SELECT
        *,
        DATE_DIFF('day', DATE '1970-01-01', CAST(time_hour AS DATE)) * 24
            + CAST(STRFTIME(time_hour, '%H') AS BIGINT) AS hour_id,
        CAST(
            year || '-' || SUBSTRING(CAST(100 + month AS VARCHAR), 2, 2)
            || '-' || SUBSTRING(CAST(100 + day AS VARCHAR), 2, 2) AS DATE
        ) AS local_date
    FROM flights
),

hours AS (
    SELECT
        *,
        DATE_DIFF('day', DATE '1970-01-01', CAST(time_hour AS DATE)) * 24
            + CAST(STRFTIME(time_hour, '%H') AS BIGINT) AS hour_id
    FROM weather
),

weather_by_hour AS (
    SELECT
        *,
        SUM(precip) OVER (
            PARTITION BY origin ORDER BY hour_id RANGE BETWEEN 5 PRECEDING AND CURRENT ROW
        ) AS precip_6h
    FROM hours
)

SELECT
    f.carrier,
    f.origin,
    f.dest,
    -- Month and part of the day in one, because what an hour means for delays changes with
    -- the season.
    SUBSTRING(CAST(100 + f.month AS VARCHAR), 2, 2) || '-' || CASE
        WHEN f.hour < 8 THEN 'early'
        WHEN f.hour < 12 THEN 'morning'
        WHEN f.hour < 16 THEN 'midday'
        WHEN f.hour < 19 THEN 'afternoon'
        ELSE 'evening'
    END AS departure_period,
    f.hour AS departure_hour,
    -- 2013-01-07 was a Monday, so Monday is 1 and Sunday is 7.
    1 + (DATE_DIFF('day', DATE '2013-01-07', f.local_date) + 364) % 7 AS day_of_week,
    f.distance,
    COUNT(*) OVER (PARTITION BY f.origin, f.hour_id) AS departures_in_hour,
    w.temp AS temperature,
    -- Sums, differences and the stations' knots are rounded to what was measured, without
    -- ROUND, which engines take differently.
    FLOOR(w.wind_speed * 10 + 0.5) / 10 AS wind_speed,
    w.wind_dir AS wind_direction,
    w.visib AS visibility,
    w.precip AS precipitation,
    FLOOR(w.precip_6h * 100 + 0.5) / 100 AS precipitation_6h,
    FLOOR((w.pressure - earlier.pressure) * 10 + 0.5) / 10 AS pressure_change_6h,
    p.year AS plane_year,
    p.seats,
    -- The US Department of Transportation counts a flight as late from 15 minutes on.
    CASE WHEN f.arr_delay IS NULL THEN NULL WHEN f.arr_delay >= 15 THEN 1 ELSE 0 END AS late,
    f.month,
    -- The flights of a day share its weather and its jams, so that they are no independent
    -- evidence.
    f.local_date,
    -- With the carrier and the origin, what tells a flight from all others.
    f.flight,
    f.hour_id
FROM departures AS f
LEFT JOIN weather_by_hour AS w ON w.origin = f.origin AND w.hour_id = f.hour_id
LEFT JOIN weather_by_hour AS earlier
    ON earlier.origin = f.origin AND earlier.hour_id = f.hour_id - 6
LEFT JOIN planes AS p ON p.tailnum = f.tailnum
ORDER BY f.hour_id, f.sched_dep_time, f.origin, f.carrier, f.flight, f.dest
