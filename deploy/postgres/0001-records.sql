-- keel's records in Postgres, version 1: what `keel ship` writes.
--
-- Apply with deploy/postgres/apply, as a role that may create roles and schemas. Three roles come of it, none of which
-- can log in by itself: keel_owner owns everything and is used by migrations alone; keel_ship may add rows and move the
-- cursor of its instance, and nothing else; keel_read may look.
--
-- Every table of records is partitioned by instance and day, is only ever added to, and has one row for one record of
-- the journal: (instance, seq) names it, and so the day does, which the record's own clock gives. hash is the leaf of
-- the journal's RFC 6962 tree: SHA-256 of 0x00, the record's header and its payload.
--
-- Times are nanoseconds since 1970 UTC (wall_ns and whatever a venue stamped) or of a stopwatch (mono_ns, recv, ticks).
-- Prices, quantities and money are exact steps of 1e-8. NULL is "none". instrument is a row of the instrument table of
-- the run: see keel.symbol().

BEGIN;

DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['keel_owner', 'keel_ship', 'keel_read'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
    END IF;
  END LOOP;
END $$;

CREATE SCHEMA keel AUTHORIZATION keel_owner;
REVOKE ALL ON SCHEMA keel FROM PUBLIC;
GRANT USAGE ON SCHEMA keel TO keel_ship, keel_read;
SET LOCAL ROLE keel_owner;
SET LOCAL search_path = pg_catalog;

CREATE TABLE keel.migration (
  version integer PRIMARY KEY,
  applied timestamptz NOT NULL DEFAULT now(),
  applied_by text NOT NULL DEFAULT session_user
);
GRANT SELECT ON keel.migration TO keel_ship, keel_read;

CREATE TABLE keel.instance (
  instance integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9._-]{1,63}$'),
  journal text NOT NULL UNIQUE CHECK (journal ~ '^[0-9a-f]{32}$'),
  enrolled timestamptz NOT NULL DEFAULT now(),
  enrolled_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE keel.instance IS 'Who ships here: a name, and the id of the one journal it stands for';

CREATE TABLE keel.cursor (
  instance integer PRIMARY KEY REFERENCES keel.instance,
  seq bigint NOT NULL CHECK (seq >= 0),
  hash bytea NOT NULL,
  wall_ns bigint NOT NULL,
  records bigint NOT NULL,
  rows bigint NOT NULL,
  moved timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE keel.cursor IS 'The last record of each instance that stands here, moved in the transaction that brought it';
GRANT SELECT ON keel.instance, keel.cursor TO keel_ship, keel_read;
GRANT UPDATE (seq, hash, wall_ns, records, rows, moved) ON keel.cursor TO keel_ship;

CREATE FUNCTION keel.refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION 'keel.% is only ever added to: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'KEEL2';
END $$;

CREATE FUNCTION keel.forward() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  IF NEW.seq <= OLD.seq OR NEW.records < OLD.records OR NEW.instance <> OLD.instance THEN
    RAISE EXCEPTION 'the cursor of instance % only moves forward', OLD.instance USING ERRCODE = 'KEEL2';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER forward BEFORE UPDATE ON keel.cursor FOR EACH ROW EXECUTE FUNCTION keel.forward();
CREATE TRIGGER stays BEFORE DELETE ON keel.cursor FOR EACH ROW EXECUTE FUNCTION keel.refuse();
CREATE TRIGGER whole BEFORE TRUNCATE ON keel.cursor FOR EACH STATEMENT EXECUTE FUNCTION keel.refuse();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON keel.instance FOR EACH ROW EXECUTE FUNCTION keel.refuse();

-- The instance's number; a name and a journal belong together for good.
CREATE FUNCTION keel.enrol(wanted text, of_journal text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  known record;
BEGIN
  INSERT INTO keel.instance (name, journal) VALUES (wanted, of_journal) ON CONFLICT DO NOTHING;
  SELECT i.instance, i.name, i.journal INTO known FROM keel.instance i WHERE i.name = wanted;
  IF known.journal IS NULL THEN
    SELECT i.name INTO known FROM keel.instance i WHERE i.journal = of_journal;
    RAISE EXCEPTION 'journal % is shipped as %, not as %', of_journal, known.name, wanted USING ERRCODE = 'KEEL1';
  ELSIF known.journal <> of_journal THEN
    RAISE EXCEPTION '% is the name of journal %, and this is journal %', wanted, known.journal, of_journal
      USING ERRCODE = 'KEEL1';
  END IF;
  INSERT INTO keel.cursor (instance, seq, hash, wall_ns, records, rows)
    VALUES (known.instance, 0, decode(repeat('00', 32), 'hex'), 0, 0, 0) ON CONFLICT DO NOTHING;
  RETURN known.instance;
END $$;

-- Makes a table of records what it must be.
CREATE FUNCTION keel.protect(kept regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION keel.refuse()', kept);
  EXECUTE format('CREATE TRIGGER whole BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION keel.refuse()', kept);
  EXECUTE format('GRANT SELECT ON %s TO keel_ship, keel_read', kept);
  EXECUTE format('GRANT INSERT ON %s TO keel_ship', kept);
END $$;

-- The partition of a table for one instance and one day, made when it is not there. A statement trigger of the parent
-- does not see TRUNCATE of a partition, so each gets its own.
CREATE FUNCTION keel.partition(of_table text, of_instance integer, of_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  part text := format('%s_%s_%s', of_table, to_char(of_day, 'YYYYMMDD'), of_instance);
BEGIN
  IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'keel'::regnamespace AND relname = part) THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE c.relnamespace = 'keel'::regnamespace
      AND c.relname = of_table AND c.relkind = 'p' AND t.tgname = 'whole') THEN
    RAISE EXCEPTION 'keel.% is not a table of records', of_table USING ERRCODE = 'undefined_table';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('keel.partition'));
  IF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'keel'::regnamespace AND relname = part) THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE keel.%I PARTITION OF keel.%I FOR VALUES FROM (%s, %L) TO (%s, %L)',
    part, of_table, of_instance, of_day, of_instance, of_day + 1);
  EXECUTE format('CREATE TRIGGER whole BEFORE TRUNCATE ON keel.%I FOR EACH STATEMENT EXECUTE FUNCTION keel.refuse()', part);
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA keel FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keel.enrol(text, text), keel.partition(text, integer, date) TO keel_ship;

CREATE TABLE keel.checkpoint (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  origin text NOT NULL,
  size bigint NOT NULL CHECK (size >= 0),
  note text NOT NULL UNIQUE CHECK (octet_length(note) <= 2048),
  kept timestamptz NOT NULL DEFAULT now(),
  kept_by text NOT NULL DEFAULT session_user
);
CREATE INDEX checkpoint_origin ON keel.checkpoint (origin, size);
COMMENT ON TABLE keel.checkpoint IS 'Signed states of journals (C2SP checkpoints): what keel verify --against-postgres compares with';
SELECT keel.protect('keel.checkpoint');

CREATE TABLE keel.quarantine (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "reason" text NOT NULL,
  "bytes" bytea NOT NULL,
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.quarantine IS 'Records no other table can take, byte for byte, with the reason';
SELECT keel.protect('keel.quarantine');

CREATE TABLE keel.span (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "first_seq" bigint NOT NULL,
  "first_wall_ns" bigint NOT NULL,
  "last_wall_ns" bigint NOT NULL,
  "records" bigint NOT NULL,
  "rows" bigint NOT NULL,
  "digest" bytea NOT NULL CHECK (octet_length(digest) = 32),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.span IS 'What one transaction brought: a hash over every record from first_seq to seq, shipped as a row or not';
SELECT keel.protect('keel.span');

CREATE TABLE keel.market (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "instrument" integer NOT NULL,
  "first_seq" bigint NOT NULL,
  "books" bigint NOT NULL,
  "trades" bigint NOT NULL,
  "tickers" bigint NOT NULL,
  "liquidations" bigint NOT NULL,
  "volume" numeric(19,8),
  "open" numeric(19,8),
  "high" numeric(19,8),
  "low" numeric(19,8),
  "close" numeric(19,8),
  "mark" numeric(19,8),
  "index" numeric(19,8),
  "funding_rate" numeric(19,8),
  "open_interest" numeric(19,8),
  PRIMARY KEY (instance, day, seq, instrument)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.market IS 'What the market did within a span, per instrument: the ticks themselves stay in the journal';
SELECT keel.protect('keel.market');

CREATE TABLE keel.run_start (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "mono" bigint NOT NULL,
  "wall" bigint,
  "seed" numeric(20,0) NOT NULL,
  "run" bigint NOT NULL,
  "pid" bigint NOT NULL,
  "config" text,
  "build" text,
  CHECK (kind IN (501)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.run_start IS 'First record of a run of the core';
SELECT keel.protect('keel.run_start');

CREATE TABLE keel.run_stop (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "mono" bigint NOT NULL,
  "wall" bigint,
  "open_orders" bigint NOT NULL,
  "unrecorded" bigint NOT NULL,
  CHECK (kind IN (503)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.run_stop IS 'Last record of a run that ended in good order';
SELECT keel.protect('keel.run_stop');

CREATE TABLE keel.instrument (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "id" integer NOT NULL,
  "symbol" text,
  "tick" numeric(19,8) NOT NULL,
  "min_px" numeric(19,8) NOT NULL,
  "max_px" numeric(19,8) NOT NULL,
  "step" numeric(19,8) NOT NULL,
  "min_qty" numeric(19,8) NOT NULL,
  "max_qty" numeric(19,8) NOT NULL,
  "max_market_qty" numeric(19,8) NOT NULL,
  "min_notional" numeric(19,8) NOT NULL,
  "band_x" numeric(19,8) NOT NULL,
  "band_y" numeric(19,8) NOT NULL,
  "taker_fee" numeric(19,8) NOT NULL,
  "maker_fee" numeric(19,8) NOT NULL,
  "funding_minutes" bigint NOT NULL,
  "max_leverage" bigint NOT NULL,
  "trading" boolean NOT NULL,
  CHECK (kind IN (502)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.instrument IS 'The instrument table of a run';
SELECT keel.protect('keel.instrument');

CREATE TABLE keel.command (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "author" text,
  "fact_kind" text,
  "authenticated" boolean NOT NULL,
  CHECK (kind IN (301)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.command IS 'What people, alerts and timers asked, with their names';
SELECT keel.protect('keel.command');

CREATE TABLE keel.decision (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "fact_cause" bigint NOT NULL,
  "px" numeric(19,8) NOT NULL,
  "qty" numeric(19,8) NOT NULL,
  "instrument" integer NOT NULL,
  "strategy" bigint NOT NULL,
  "op" text,
  "side" text,
  "fact_kind" text,
  "tif" text,
  "reduce_only" boolean NOT NULL,
  "bound" text,
  "model" bigint NOT NULL,
  "signal_age" bigint NOT NULL,
  "failing" text,
  "mark" numeric(19,8) NOT NULL,
  "equity" numeric(19,8) NOT NULL,
  "limits" bigint NOT NULL,
  "first" text,
  "brake" text,
  "class" text,
  "stale_book_value" bigint NOT NULL,
  "stale_book_limit" bigint NOT NULL,
  "message_rate_value" bigint NOT NULL,
  "message_rate_limit" bigint NOT NULL,
  "collar_value" bigint NOT NULL,
  "collar_limit" bigint NOT NULL,
  "order_qty_value" numeric(19,8) NOT NULL,
  "order_qty_limit" numeric(19,8) NOT NULL,
  "order_value_value" numeric(19,8) NOT NULL,
  "order_value_limit" numeric(19,8) NOT NULL,
  "open_orders_value" bigint NOT NULL,
  "open_orders_limit" bigint NOT NULL,
  "position_value" numeric(19,8) NOT NULL,
  "position_limit" numeric(19,8) NOT NULL,
  "gross_value" numeric(19,8) NOT NULL,
  "gross_limit" numeric(19,8) NOT NULL,
  "net_value" numeric(19,8) NOT NULL,
  "net_limit" numeric(19,8) NOT NULL,
  "margin_value" numeric(19,8) NOT NULL,
  "margin_limit" numeric(19,8) NOT NULL,
  "value_at_risk_value" bigint NOT NULL,
  "value_at_risk_limit" bigint NOT NULL,
  "shortfall_value" numeric(19,8) NOT NULL,
  "shortfall_limit" numeric(19,8) NOT NULL,
  "stress_value" numeric(19,8) NOT NULL,
  "stress_limit" numeric(19,8) NOT NULL,
  "walk_value" bigint NOT NULL,
  "walk_limit" bigint NOT NULL,
  "participation_value" numeric(19,8) NOT NULL,
  "participation_limit" numeric(19,8) NOT NULL,
  "resting_value_value" numeric(19,8) NOT NULL,
  "resting_value_limit" numeric(19,8) NOT NULL,
  "signal_age_value" bigint NOT NULL,
  "signal_age_limit" bigint NOT NULL,
  "order_to_trade_value" bigint NOT NULL,
  "order_to_trade_limit" bigint NOT NULL,
  CHECK (kind IN (401, 402)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.decision IS 'Every order the gate allowed (kind 401) or refused (402): each value beside its limit';
SELECT keel.protect('keel.decision');

CREATE TABLE keel.not_sized (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "fact_cause" bigint NOT NULL,
  "px" numeric(19,8) NOT NULL,
  "qty" numeric(19,8) NOT NULL,
  "instrument" integer NOT NULL,
  "strategy" bigint NOT NULL,
  "op" text,
  "side" text,
  "fact_kind" text,
  "tif" text,
  "reduce_only" boolean NOT NULL,
  "bound" text,
  "model" bigint NOT NULL,
  "signal_age" bigint NOT NULL,
  CHECK (kind IN (403)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.not_sized IS 'Wishes that sizing turned into nothing';
SELECT keel.protect('keel.not_sized');

CREATE TABLE keel.sent (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "at" bigint NOT NULL,
  "took" bigint NOT NULL,
  "op" text,
  "outcome" text,
  CHECK (kind IN (207)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.sent IS 'What became of a recorded order on its way out';
SELECT keel.protect('keel.sent');

CREATE TABLE keel.ack (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "recv" bigint NOT NULL,
  "ticks" bigint NOT NULL,
  "ts" bigint,
  "limit_reset" bigint,
  "venue" text,
  "code" bigint NOT NULL,
  "limit" bigint NOT NULL,
  "remaining" bigint NOT NULL,
  "op" text,
  "channel" text,
  "batch" boolean NOT NULL,
  CHECK (kind IN (201)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.ack IS 'The venue''s first answer to a request';
SELECT keel.protect('keel.ack');

CREATE TABLE keel.order_update (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "recv" bigint NOT NULL,
  "ticks" bigint NOT NULL,
  "updated" bigint,
  "px" numeric(19,8) NOT NULL,
  "qty" numeric(19,8) NOT NULL,
  "filled" numeric(19,8) NOT NULL,
  "leaves" numeric(19,8) NOT NULL,
  "avg_px" numeric(19,8) NOT NULL,
  "venue" text,
  "reason" text,
  "instrument" integer NOT NULL,
  "side" text,
  "status" text,
  "tif" text,
  "reduce_only" boolean NOT NULL,
  "queried" boolean NOT NULL,
  CHECK (kind IN (202)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.order_update IS 'The venue''s view of an order';
SELECT keel.protect('keel.order_update');

CREATE TABLE keel.fill (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "recv" bigint NOT NULL,
  "ticks" bigint NOT NULL,
  "ts" bigint,
  "fact_seq" bigint NOT NULL,
  "px" numeric(19,8) NOT NULL,
  "qty" numeric(19,8) NOT NULL,
  "leaves" numeric(19,8) NOT NULL,
  "closed" numeric(19,8) NOT NULL,
  "fee" numeric(19,8) NOT NULL,
  "pnl" numeric(19,8) NOT NULL,
  "mark" numeric(19,8) NOT NULL,
  "exec" text,
  "venue" text,
  "instrument" integer NOT NULL,
  "side" text,
  "fact_kind" text,
  "maker" boolean NOT NULL,
  "queried" boolean NOT NULL,
  CHECK (kind IN (203)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.fill IS 'Executions';
SELECT keel.protect('keel.fill');

CREATE TABLE keel.venue_position (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "updated" bigint,
  "fact_seq" bigint NOT NULL,
  "size" numeric(19,8) NOT NULL,
  "entry" numeric(19,8) NOT NULL,
  "mark" numeric(19,8) NOT NULL,
  "liquidation" numeric(19,8) NOT NULL,
  "unrealised" numeric(19,8) NOT NULL,
  "realised" numeric(19,8) NOT NULL,
  "initial_margin" numeric(19,8) NOT NULL,
  "maintenance_margin" numeric(19,8) NOT NULL,
  "instrument" integer NOT NULL,
  "distressed" boolean NOT NULL,
  "queried" boolean NOT NULL,
  CHECK (kind IN (204)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.venue_position IS 'The venue''s view of a position';
SELECT keel.protect('keel.venue_position');

CREATE TABLE keel.wallet (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "ts" bigint,
  "equity" numeric(19,8) NOT NULL,
  "balance" numeric(19,8) NOT NULL,
  "available" numeric(19,8) NOT NULL,
  "initial_margin" numeric(19,8) NOT NULL,
  "maintenance_margin" numeric(19,8) NOT NULL,
  "unrealised" numeric(19,8) NOT NULL,
  "queried" boolean NOT NULL,
  CHECK (kind IN (205)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.wallet IS 'The account''s money';
SELECT keel.protect('keel.wallet');

CREATE TABLE keel.link (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "at" bigint NOT NULL,
  "channel" text,
  "state" text,
  CHECK (kind IN (206)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.link IS 'Conversations that changed state';
SELECT keel.protect('keel.link');

CREATE TABLE keel.reconciliation (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "at" bigint NOT NULL,
  "orders" bigint NOT NULL,
  "fills" bigint NOT NULL,
  "positions" bigint NOT NULL,
  "complete" boolean NOT NULL,
  "periodic" boolean NOT NULL,
  CHECK (kind IN (208)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.reconciliation IS 'Bounds of a comparison with the venue';
SELECT keel.protect('keel.reconciliation');

CREATE TABLE keel.difference (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "at" bigint NOT NULL,
  "client" text,
  "ours" bigint NOT NULL,
  "theirs" bigint NOT NULL,
  "venue" text,
  "instrument" integer NOT NULL,
  "fact_kind" text,
  "resolution" text,
  CHECK (kind IN (209)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.difference IS 'Where our account and the venue''s came apart';
SELECT keel.protect('keel.difference');

CREATE TABLE keel.flow (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "ts" bigint,
  "fact_kind" text,
  "state" text,
  "amount" numeric(19,8) NOT NULL,
  "usd" numeric(19,8) NOT NULL,
  "fee" numeric(19,8) NOT NULL,
  "coin" text,
  "chain" text,
  "account" text,
  "party" text,
  "address" text,
  "tx" text,
  "id" text,
  CHECK (kind IN (210)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.flow IS 'Money through the door and the transaction log';
SELECT keel.protect('keel.flow');

CREATE TABLE keel.standing (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "at" bigint,
  "uid" text,
  "parent" text,
  "kyc_level" text,
  "kyc_region" text,
  "ips" text,
  "permissions" bigint NOT NULL,
  "read_only" boolean NOT NULL,
  "expires" bigint,
  "changed" boolean NOT NULL,
  "amiss" boolean NOT NULL,
  "digest" text,
  CHECK (kind IN (211)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.standing IS 'What the account and its key are to the venue';
SELECT keel.protect('keel.standing');

CREATE TABLE keel.health (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "ticks" bigint NOT NULL,
  "ts" bigint,
  "cts" bigint,
  "fact_seq" bigint NOT NULL,
  "u" bigint NOT NULL,
  "instrument" integer NOT NULL,
  "state" text,
  "reason" text,
  CHECK (kind IN (107)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.health IS 'Verdicts on a book: waiting, synced, stale';
SELECT keel.protect('keel.health');

CREATE TABLE keel.venue_status (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "ticks" bigint NOT NULL,
  "ts" bigint,
  "cts" bigint,
  "fact_seq" bigint NOT NULL,
  "begin" bigint,
  "end" bigint,
  "ongoing" boolean NOT NULL,
  "derivatives" boolean NOT NULL,
  CHECK (kind IN (108)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.venue_status IS 'The venue''s own notices';
SELECT keel.protect('keel.venue_status');

CREATE TABLE keel.trip (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "version" bigint NOT NULL,
  "measured" bigint NOT NULL,
  "limit" bigint NOT NULL,
  "limits" bigint NOT NULL,
  "id" bigint NOT NULL,
  "scope" text,
  "before" text,
  "after" text,
  "reason" text,
  "author" text,
  "at" bigint NOT NULL,
  CHECK (kind IN (404)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.trip IS 'The brake moved: where, why, measured beside its limit';
SELECT keel.protect('keel.trip');

CREATE TABLE keel.answer (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "version" bigint NOT NULL,
  "limits" bigint NOT NULL,
  "document" text,
  "doubt" text,
  "author" text,
  CHECK (kind IN (405)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.answer IS 'What the gate said to a signed document';
SELECT keel.protect('keel.answer');

CREATE TABLE keel.fortune (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "unit_value" numeric(19,8) NOT NULL,
  "highest" numeric(19,8) NOT NULL,
  "fact_day" bigint NOT NULL,
  "day_value" numeric(19,8) NOT NULL,
  "equity" numeric(19,8) NOT NULL,
  CHECK (kind IN (406)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.fortune IS 'What a unit of the account is worth, and was at most';
SELECT keel.protect('keel.fortune');

CREATE TABLE keel.unwind (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "position" numeric(19,8) NOT NULL,
  "theirs" numeric(19,8) NOT NULL,
  "px" numeric(19,8) NOT NULL,
  "mark" numeric(19,8) NOT NULL,
  "mid" numeric(19,8) NOT NULL,
  "since" bigint NOT NULL,
  "instrument" integer NOT NULL,
  "stage" text,
  "reason" text,
  "bound" bigint NOT NULL,
  CHECK (kind IN (407)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.unwind IS 'How far the brake is with closing a position';
SELECT keel.protect('keel.unwind');

CREATE TABLE keel.worth (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "at" bigint NOT NULL,
  "equity" numeric(19,8) NOT NULL,
  "balance" numeric(19,8) NOT NULL,
  "moved" numeric(19,8) NOT NULL,
  "high" numeric(19,8) NOT NULL,
  "drawdown" numeric(19,8) NOT NULL,
  "initial_margin" numeric(19,8) NOT NULL,
  "maintenance_margin" numeric(19,8) NOT NULL,
  CHECK (kind IN (411)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.worth IS 'Equity, its high-water mark, drawdown, margin';
SELECT keel.protect('keel.worth');

CREATE TABLE keel.document (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "author" text,
  "fact_kind" text,
  "part" bigint NOT NULL,
  "parts" bigint NOT NULL,
  "len" bigint NOT NULL,
  "bytes" text,
  CHECK (kind IN (303)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.document IS 'Limits, requests, people, scenarios and strategies, as signed, in parts';
SELECT keel.protect('keel.document');

CREATE TABLE keel.holding (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "size" numeric(19,8) NOT NULL,
  "cost" numeric(19,8) NOT NULL,
  "realised" numeric(19,8) NOT NULL,
  "fees" numeric(19,8) NOT NULL,
  "funding" numeric(19,8) NOT NULL,
  "life" numeric(19,8) NOT NULL,
  "fact_seq" bigint NOT NULL,
  "base" bigint NOT NULL,
  "instrument" integer NOT NULL,
  "lived" boolean NOT NULL,
  CHECK (kind IN (512)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.holding IS 'A position a run took over';
SELECT keel.protect('keel.holding');

CREATE TABLE keel.carried (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "client" text,
  "fact_cause" bigint NOT NULL,
  "px" numeric(19,8) NOT NULL,
  "qty" numeric(19,8) NOT NULL,
  "instrument" integer NOT NULL,
  "strategy" bigint NOT NULL,
  "op" text,
  "side" text,
  "fact_kind" text,
  "tif" text,
  "reduce_only" boolean NOT NULL,
  "bound" text,
  "model" bigint NOT NULL,
  "signal_age" bigint NOT NULL,
  "age" bigint NOT NULL,
  "updated" bigint,
  "target_px" numeric(19,8) NOT NULL,
  "target_qty" numeric(19,8) NOT NULL,
  "amended_px" numeric(19,8) NOT NULL,
  "amended_qty" numeric(19,8) NOT NULL,
  "filled" numeric(19,8) NOT NULL,
  "reported" numeric(19,8) NOT NULL,
  "venue" text,
  "amends" bigint NOT NULL,
  "state" text,
  "ending" text,
  "asked" text,
  "open_questions" bigint NOT NULL,
  CHECK (kind IN (511)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.carried IS 'An order a run took over';
SELECT keel.protect('keel.carried');

CREATE TABLE keel.seen (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "ts" bigint,
  "exec" text,
  CHECK (kind IN (513)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.seen IS 'An execution a run must not count again';
SELECT keel.protect('keel.seen');

CREATE TABLE keel.resumed (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "last_fill" bigint,
  "balance" numeric(19,8) NOT NULL,
  "moved" numeric(19,8) NOT NULL,
  "high" numeric(19,8) NOT NULL,
  "run" bigint NOT NULL,
  "holdings" bigint NOT NULL,
  "orders" bigint NOT NULL,
  "seen" bigint NOT NULL,
  "known" boolean NOT NULL,
  "clean" boolean NOT NULL,
  CHECK (kind IN (514)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.resumed IS 'What a run took over, counted';
SELECT keel.protect('keel.resumed');

CREATE TABLE keel.bar (
  "instance" integer NOT NULL,
  "day" date NOT NULL,
  "seq" bigint NOT NULL,
  "wall_ns" bigint NOT NULL,
  "mono_ns" bigint NOT NULL,
  "clock_error_ns" bigint NOT NULL,
  "kind" smallint NOT NULL,
  "cause" bigint,
  "hash" bytea NOT NULL CHECK (octet_length(hash) = 32),
  "recv" bigint NOT NULL,
  "ticks" bigint NOT NULL,
  "ts" bigint,
  "cts" bigint,
  "fact_seq" bigint NOT NULL,
  "start" bigint,
  "end" bigint,
  "open" numeric(19,8) NOT NULL,
  "high" numeric(19,8) NOT NULL,
  "low" numeric(19,8) NOT NULL,
  "close" numeric(19,8) NOT NULL,
  "volume" numeric(19,8) NOT NULL,
  "turnover" numeric(19,8) NOT NULL,
  "instrument" integer NOT NULL,
  "minutes" bigint NOT NULL,
  "confirmed" boolean NOT NULL,
  CHECK (kind IN (104)),
  PRIMARY KEY (instance, day, seq)
) PARTITION BY RANGE (instance, day);
COMMENT ON TABLE keel.bar IS 'The venue''s own summaries of the market';
SELECT keel.protect('keel.bar');

-- The symbol an instrument number stood for when a record was written.
CREATE FUNCTION keel.symbol(of_instance integer, number integer, at_seq bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT i.symbol FROM keel.instrument i
  WHERE i.instance = of_instance AND i.id = number AND i.seq <= at_seq ORDER BY i.seq DESC LIMIT 1
$$;
REVOKE ALL ON FUNCTION keel.symbol(integer, integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keel.symbol(integer, integer, bigint) TO keel_ship, keel_read;

INSERT INTO keel.migration (version) VALUES (1);
COMMIT;
