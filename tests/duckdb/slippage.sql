-- What did trading cost, against the mark each order was approved at? Per instrument and minute.
--
--   keel export JOURNAL --kind fill,approved --out tables && (cd tables && duckdb < ../tests/duckdb/slippage.sql)
--
-- A fill comes in twice when a reconciliation also reads it: the venue's execution id counts it once. An order is
-- approved once and may be amended later: its first approval is the decision to trade. All arithmetic is exact.
WITH fills AS (
    SELECT * FROM 'fill.parquet' QUALIFY row_number() OVER (PARTITION BY exec ORDER BY seq) = 1
), decisions AS (
    SELECT client, mark FROM 'approved.parquet' WHERE op = 'New'
    QUALIFY row_number() OVER (PARTITION BY client ORDER BY seq) = 1
)
SELECT
    instrument,
    date_trunc('minute', fills.wall) AS minute,
    count(*) AS fills,
    sum(px * qty) AS turnover,
    sum(CASE side WHEN 'Buy' THEN (px - decisions.mark) * qty ELSE (decisions.mark - px) * qty END) AS slippage,
    sum(fee) AS fees
FROM fills JOIN decisions USING (client)
GROUP BY instrument, minute
ORDER BY instrument, minute;
