"""What clients of served tables may try: attacks, a line each, and what has to work."""

from __future__ import annotations

from orchestrator.live import guard

SECRET_QUERY = "SELECT 'what another client asks'"
READ = "(SELECT content FROM read_text('/etc/passwd'))"

WRITING = """
insert into events values (1)
insert into run select * from run
with x as (select 1) insert into candidates select * from x
with x as (insert into events values (1) returning *) select * from x
from (delete from events returning *)
select * from (update run set run_id='x' returning *)
merge into run using (select 1) on true when matched then delete
delete from events
truncate events
update run set run_id='x'
drop table events
drop view leaderboard
drop macro answered
alter table events add column x int
comment on table events is 'x'
create table x(i int)
create table x as select 1
create temp table events as select 1
create temp view run as select 1
create or replace view leaderboard as select 1
create schema x
create sequence x
create type x as enum ('a')
create index x on events(kind)
create function f(a) as a
create secret x (type quack, token 'abcdefgh')
select * into x from events
"""

SHADOWING = """
create or replace macro answered(a, b) as b
create temp macro answered(a, b) as b
create temp macro json_serialize_sql(a) as '{"error":false,"statements":[1]}'
create temp macro lower(a) as a
create temp macro unknown(a) as []
"""

SEVERAL = """
select 1; delete from events
select 1; select 2
select * from events; select * from read_text('/etc/passwd')
;delete from events
/* select */ delete from events
delete /* select */ from events
-- select
prepare p as delete from events
prepare p as select 1
execute p
execute immediate 'select 1'
deallocate p
begin transaction
commit
rollback
abort
"""

FILES = """
copy events to '/tmp/out.csv'
copy (select 1) to '/tmp/out.csv'
copy (from events) to '/dev/stdout'
copy events from '/etc/passwd'
copy from database memory to x
export database '/tmp/exported'
import database '/tmp/exported'
attach '/tmp/x.duckdb'
attach ':memory:' as x
detach memory
load httpfs
load '/tmp/x.duckdb_extension'
install httpfs
force install quack
update extensions
select * from read_text('/etc/passwd')
select * from read_csv('/etc/passwd')
select * from read_blob('/etc/passwd')
from read_text(['/etc/passwd', '/etc/hosts'])
from read_text('/etc/passwd') at (version => 1)
from read_json('/proc/self/environ')
from read_duckdb('/tmp/other.duckdb')
from read_ndjson_objects('/etc/passwd')
from parquet_scan('/etc/passwd')
from parquet_metadata('/etc/passwd')
from sniff_csv('/etc/passwd')
from glob('/*')
from '/etc/passwd'
from "/etc/hostname"
from 'https://example.com/x.csv'
from read_csv('https://example.com/x.csv')
from "s3://bucket/x.parquet"
from pandas_scan(0)
from pandas_scan(1::ubigint)
from arrow_scan(0, 0, 0)
from arrow_scan_dumb(0::ubigint, 0::ubigint, 0::ubigint)
from python_map_function()
from seq_scan('events')
select system('ls')
"""

NAMES = """
select * from system.main.read_text('/etc/passwd')
select * from main.read_text('/etc/passwd')
select * from "READ_TEXT"('/etc/passwd')
select * from ReAd_TeXt/**/('/etc/passwd')
select * from system . main . "read_text" ('/etc/passwd')
select * from U&"\\0072ead_text"('/etc/passwd')
select '/etc/passwd'.read_text()
select 'threads'.current_setting()
select [current_setting(x) for x in ['threads']]
select list_transform(['HOME'], lambda x: getenv(x))
select list_transform(['HOME'], x -> getenv(x))
select cast('/etc/passwd' as read_text)
table duckdb_logs
from system.main.duckdb_logs
from "system"."main"."DUCKDB_LOGS"
with duckdb_logs as (select 1) from system.main.duckdb_logs
with pg_settings as (select 1) select * from pg_catalog.pg_settings
from histogram(duckdb_logs, message)
from histogram_values('duckdb_logs', message)
from query('delete from events')
from query_table('events')
from json_execute_serialized_sql(json_serialize_sql('select 42'))
select json_execute_serialized_sql(json_serialize_sql('select 1'))
from (pragma json_execute_serialized_sql('x'))
select json_serialize_plan('from read_text(''/etc/passwd'')')
from from_substrait('a')
from nothing_of_that_name
select nothing_of_that_name()
"""

PLACES = f"""
select {READ}
values ({READ})
select * from (values (1)) t, lateral {READ}
select 1 from events order by {READ} limit 1
select 1 from events limit (select count(*) from read_text('/etc/passwd'))
select row_number() over (order by {READ}) from events
select count(*) filter (where {READ} is null) from events
select * from events a join events b on {READ} is null
select * from events group by grouping sets (({READ}))
select * from events qualify {READ} is null
select exists (from read_text('/etc/passwd'))
select * from events where seq in (select size from read_text('/etc/passwd'))
select * replace ({READ} as kind) from events
select columns(lambda c: {READ} is null) from events
select case when true then {READ} end
select try({READ})
select {{'a': {READ}}}
select [{READ}]
select map {{'a': {READ}}}
select unnest({READ}::varchar[])
select * from range((select count(*) from read_text('/etc/passwd')))
select * from (select 1) union all by name {READ}
from (pivot (from read_text('/etc/passwd')) on filename in ('a') using count(*))
from (unpivot (from read_text('/etc/passwd')) on content)
with a as materialized (from read_text('/etc/passwd')) select 1
with recursive a as (select 1 union all from read_text('/etc/passwd')) from a
describe from read_text('/etc/passwd')
summarize from read_csv('/etc/passwd')
"""

TELLING = """
select current_setting('lock_configuration')
select getvariable('x')
select getenv('HOME')
select get_block_size('memory')
select current_query()
select pg_catalog.current_query()
select current_query_id(), current_connection_id(), current_transaction_id()
select stats(seq) from events
select quack_check_token('a', 'b', 'c')
select quack_nop_authorization('a', 'b')
select quack_uri_parser('quack:x', true)
select answered('a', 'delete from events')
select named('x', 'y')
from duckdb_settings()
from duckdb_secrets()
from duckdb_secret_types()
from which_secret('a', 's3')
from duckdb_logs()
from duckdb_logs
from duckdb_logs_parsed('QueryLog')
from duckdb_log_contexts()
from duckdb_extensions()
from duckdb_variables()
from duckdb_prepared_statements()
from duckdb_temporary_files()
from duckdb_memory()
from duckdb_connection_count()
from duckdb_external_file_cache()
from duckdb_profiling_settings()
from duckdb_dependencies()
from duckdb_table_sample('events')
from pragma_storage_info('events')
from pragma_database_size()
from pragma_metadata_info()
from pragma_user_agent()
from whoami()
from pg_settings
from pg_catalog.pg_settings
from pg_catalog.pg_prepared_statements
summarize duckdb_logs
from (summarize duckdb_logs)
show variables
from (show variables)
show memory_limit
explain select 1
explain analyze select 1
"""

EFFECTS = """
set memory_limit='10GB'
set session threads = 4
set search_path = 'information_schema'
set variable x = 1
set allowed_configs = ['threads']
set global quack_authorization_function = 'quack_nop_authorization'
set lock_configuration = false
set enable_external_access = true
reset all
use memory
pragma memory_limit='10GB'
pragma threads=4
pragma enable_profiling
pragma database_list
pragma table_info('events')
call enable_logging()
from enable_logging()
from disable_logging()
from truncate_duckdb_logs()
from enable_profiling()
select write_log('hello')
select setseed(0.5)
select sleep_ms(10000)
select pg_sleep(10)
select pg_catalog.pg_sleep(10)
select nextval('x')
select currval('x')
select setval('x', 1)
checkpoint
force checkpoint
from checkpoint()
from force_checkpoint()
vacuum
analyze
from test_all_types()
from test_vector_types(null::int)
from repeat_row(1, 2, num_rows = 5)
"""

OTHER_SERVERS = """
call quack_serve('quack:localhost:16789')
select * from quack_serve('quack:localhost:16789', token='abcdefgh')
call quack_stop('quack:localhost:15999')
from quack_stop('quack:localhost:15999')
from quack_server_list()
from quack_active_connections()
from quack_query('quack:localhost:1', 'select 1')
from quack_query_by_name('live', 'select 1')
call quack_clear_cache()
call quack_identify(name='x')
"""

ATTACKS = [
    line
    for lines in (WRITING, SHADOWING, SEVERAL, FILES, NAMES, PLACES, TELLING, EFFECTS, OTHER_SERVERS)
    for line in lines.strip().splitlines()
] + [
    "",
    " ",
    "select 1 \0; delete from events",
    "delete from events \0 select 1",
    "select 'x' -- " + "x" * guard.MAX_STATEMENT_BYTES,
]

BY_TABLE = [
    "INSERT INTO live.run SELECT * FROM live.run",
    "INSERT INTO live.refusals VALUES ('a', 'b', 1)",
    "INSERT INTO live.main.refusals BY NAME SELECT 'a' AS step, 'b' AS reason, 1 AS count",
    "BEGIN; INSERT INTO live.refusals VALUES ('a', 'b', 1); COMMIT",
    "COPY live.refusals FROM '/etc/passwd'",
    "UPDATE live.run SET run_id = 'x'",
    "DELETE FROM live.events",
    "TRUNCATE live.events",
    "MERGE INTO live.run USING (SELECT 1) ON true WHEN MATCHED THEN DELETE",
    "DROP TABLE live.events",
    "DROP VIEW live.leaderboard",
    "ALTER TABLE live.events ADD COLUMN x INTEGER",
    "CREATE TABLE live.x (i INTEGER)",
    "CREATE TABLE live.x AS SELECT 1",
    "CREATE VIEW live.x AS SELECT 1",
    "CREATE OR REPLACE VIEW live.leaderboard AS SELECT 1",
    "CREATE SCHEMA live.x",
    "CREATE INDEX x ON live.events(kind)",
    "CREATE MACRO live.answered(a, b) AS b",
    "CREATE SEQUENCE live.x",
    "COMMENT ON TABLE live.events IS 'x'",
    "CHECKPOINT live",
]

ALLOWED = """
select 42
from events
table events
values (1), (2);
select max(seq) from events -- the last one
SELECT candidate_id, ap FROM leaderboard ORDER BY ap DESC LIMIT 3
from pareto_front
from main.leaderboard
from memory.main.run
from ancestors('s-3')
select candidate_id, distance from descendants('s-1') where distance < 3
with best as (from leaderboard limit 1) select * from best join candidates using (candidate_id)
with recursive a(i) as (select 1 union all select i + 1 from a where i < 10) select count(*) from a
with Best as materialized (from leaderboard) select (select count(*) from bEST)
select payload->>'kind', json_extract(payload, '$.ap'), kind from events
select morphism, count(*) from (select unnest(morphisms) as morphism from inheritance) group by all order by all
select regexp_extract(arch, '^[a-z]+'), upper(arch), arch[1], arch || 'x', arch like 'b%' from candidates
select 'b' similar to 'b.*', substring('abc' from 2 for 1), position('b' in 'abc'), trim('  a '), 'a' collate nocase
select count(*) filter (ap > 0.2), avg(ap), median(ap), quantile_cont(ap, 0.9), arg_max(arch, ap) from candidates
select list(ap order by ap), histogram(ap), count(distinct arch), string_agg(arch, ',') from candidates
select rank() over (order by ap), lag(ap) over (partition by phase order by ap), row_number() over () from candidates
select coalesce(ap, 0), nullif(ap, 0), if(ap > 0, 1, 2), case when true then 1 end from candidates
select try_cast('a' as int), greatest(1, 2), not true, -1, 7 // 2, 2 ** 3, 1 between 0 and 2, 1 in (1, 2)
select extract(year from ts), date_trunc('day', ts), ts + interval 1 day, strftime(ts, '%Y'), age(ts) from events
select [x + 1 for x in [1, 2]], list_transform([1], lambda x: x + 1), list_sum([1, 2]), {'a': 1}.a, map {'a': 1}['a']
select * from range(3) t(i), lateral (select i + 1)
from generate_series(1, 3)
from json_each('[1, 2]')
select * exclude (payload) from events using sample 2
from (pivot candidates on phase in ('serial') using count(*))
from (unpivot run on seed)
select random() < 2, gen_random_uuid() is not null, current_date, current_user, version(), current_schema()
select 1 union all by name select 2
describe events
describe select 1
summarize candidates
show tables
show all tables
show databases
show tables from memory
from information_schema.tables
from information_schema.columns
from duckdb_tables()
from duckdb_columns
from duckdb_views()
from duckdb_functions()
from pragma_table_info('events')
from sqlite_master
""".strip().splitlines()

VARYING = ["select * exclude (payload) from events using sample 2", "from duckdb_functions()"]
"""Statements whose answer depends on the draw, or on what guards the tables."""
