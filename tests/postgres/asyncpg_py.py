"""asyncpg against a server: asyncpg_py.py PORT. Everything is prepared and binary; types of parameters are the server's."""

import asyncio
import sys
import time

import asyncpg


async def main():
    dsn = f"postgres://me@127.0.0.1:{sys.argv[1]}/any?sslmode=disable"
    db = await asyncpg.connect(dsn)
    other = await asyncpg.connect(dsn)
    await db.execute("SET auto.offset.reset = 'earliest'")
    row = await db.fetchrow("SELECT id, l, n, ai, st FROM all_types WHERE i = $1 AND d < $2 AND s LIKE $3 LIMIT $4", -7, 0.5, "it%", 5)
    assert (row["id"], row["l"], str(row["n"]), row["ai"]) == ("one", 9007199254740993, "-12.500", [1, -2, None]), row
    prepared = await db.prepare("SELECT id FROM all_types WHERE i = $1 AND d BETWEEN $2 AND $3 AND b = $4")
    assert [p.name for p in prepared.get_parameters()] == ["int4", "float8", "float8", "bool"], prepared.get_parameters()
    await other.executemany("INSERT INTO events (id, n, v) VALUES ($1, $2, $3)", [("asyncpg", n, n / 2) for n in range(3)])
    assert await db.fetchval("SELECT COUNT(*) FROM events WHERE id = $1", "asyncpg") == 3
    copied = await other.copy_records_to_table("events", records=[("copied", n, n / 4) for n in range(5)], columns=["id", "n", "v"])
    assert copied == "COPY 5", copied
    assert await db.fetchval("SELECT SUM(v) FROM events WHERE id = $1", "copied") == 2.5
    try:
        await db.fetch("SELECT sped FROM events")
        raise SystemExit("no error")
    except asyncpg.UndefinedColumnError as error:
        assert error.position == "8", error.position
    async with db.transaction():
        numbers = []
        async for row in db.cursor("SELECT n FROM events WHERE id = 'asyncpg' EMIT CHANGES", prefetch=1):
            numbers.append(row["n"])
            if len(numbers) == 3:
                begun = time.monotonic()
                await other.execute("INSERT INTO events (id, n) VALUES ('asyncpg', 3)")
            if len(numbers) == 4:
                break
        assert numbers == [0, 1, 2, 3] and time.monotonic() - begun < 1.0
    try:
        await asyncio.wait_for(db.fetch("SELECT n FROM events WHERE id = 'none' EMIT CHANGES"), 0.3)
        raise SystemExit("no timeout")
    except TimeoutError:
        pass
    assert await db.fetchval("SELECT n FROM events WHERE id = 'asyncpg' AND n = $1", 3) == 3
    await db.close()
    await other.close()
    print("asyncpg passed")


asyncio.run(main())
