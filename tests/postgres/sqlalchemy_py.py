"""SQLAlchemy against a server: sqlalchemy_py.py PORT. Connects, reflects, selects and inserts through its own statements."""

import sys

import sqlalchemy as sa

engine = sa.create_engine(f"postgresql+psycopg://me@127.0.0.1:{sys.argv[1]}/any")
inspector = sa.inspect(engine)
assert inspector.get_schema_names() == ["information_schema", "public"], inspector.get_schema_names()
assert {"all_types", "events", "counts", "totals"} <= set(inspector.get_table_names()), inspector.get_table_names()
assert inspector.get_view_names() == []
columns = {column["name"]: column for column in inspector.get_columns("all_types")}
assert isinstance(columns["n"]["type"], sa.Numeric) and columns["n"]["type"].scale == 3
assert isinstance(columns["ts"]["type"], sa.TIMESTAMP) and columns["ts"]["type"].timezone
assert isinstance(columns["ai"]["type"], sa.ARRAY)
assert inspector.get_pk_constraint("totals")["constrained_columns"] == ["id"], inspector.get_pk_constraint("totals")
assert inspector.get_foreign_keys("totals") == [] and inspector.get_indexes("totals") == []
assert inspector.has_table("events") and not inspector.has_table("no_such")
assert inspector.get_table_comment("totals")["text"].startswith("TABLE over the topic totals")

metadata = sa.MetaData()
metadata.reflect(engine, only=["events", "totals"])
events = metadata.tables["events"]
assert [column.name for column in events.columns] == ["id", "n", "v"]
assert [column.name for column in metadata.tables["totals"].primary_key] == ["id"]
with engine.connect() as db:
    db.execute(sa.text("SET auto.offset.reset = 'earliest'"))
    db.execute(events.insert(), [{"id": "sa", "n": 1, "v": 0.5}])
    db.execute(events.insert(), [{"id": "sa", "n": 2, "v": None}])
    db.commit()
    found = db.execute(sa.select(events.c.n, events.c.v).where(events.c.id == "sa").order_by(events.c.n))
    assert found.all() == [(1, 0.5), (2, None)]
    count = db.execute(sa.select(sa.func.count()).select_from(events).where(events.c.id == "sa")).scalar_one()
    assert count == 2
print("SQLAlchemy passed")
