"""Nine scenarios such as a newcomer writes on the first day, each for a program that loses data."""

SOURCE = """
    import json, os, shutil, sqlite3
    from chaoskit import faults, scenario

    def put(path, text):
        with open(path, "w") as file:
            file.write(text)

    def read(path):
        with open(path) as file:
            return json.load(file)

    @scenario()
    def test_settings_survive(chaos):
        put(chaos.path / "settings.json", '{"theme": "light"}')
        chaos.run(put, chaos.path / "settings.json", '{"theme": "dark"}')
        assert read(chaos.path / "settings.json")["theme"] in ("light", "dark")

    def replace(path, text):
        with open(f"{path}.tmp", "w") as file:
            file.write(text)
        os.replace(f"{path}.tmp", path)

    @scenario()
    def test_state_is_old_or_new(chaos):
        replace(chaos.path / "state.json", '{"n": 1}')
        chaos.run(replace, chaos.path / "state.json", '{"n": 2}')
        assert read(chaos.path / "state.json")["n"] in (1, 2)

    def append(path, line):
        with open(path, "a") as file:
            file.write(line + "\\n")

    @scenario()
    def test_log_has_whole_lines(chaos):
        append(chaos.path / "app.log", "first line of the log")
        chaos.run(append, chaos.path / "app.log", "second line of the log")
        text = (chaos.path / "app.log").read_text()
        assert all(line in ("first line of the log", "second line of the log") for line in text.splitlines())

    def transfer(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=0.1)
        connection.execute("update account set balance = balance - 10 where name = 'a'")
        connection.execute("update account set balance = balance + 10 where name = 'b'")
        connection.close()

    @scenario()
    def test_money_is_kept(chaos):
        connection = sqlite3.connect(chaos.path / "bank.db")
        connection.execute("create table account (name, balance)")
        connection.executemany("insert into account values (?, ?)", [("a", 100), ("b", 0)])
        connection.commit()
        connection.close()
        chaos.run(transfer, chaos.path / "bank.db")
        connection = sqlite3.connect(chaos.path / "bank.db")
        total = connection.execute("select sum(balance) from account").fetchone()[0]
        connection.close()
        assert total == 100

    def count(path):
        number = int(path.read_text())
        path.write_text(str(number + 1))

    @scenario()
    def test_counter_never_goes_back(chaos):
        (chaos.path / "counter").write_text("41")
        chaos.run(count, chaos.path / "counter")
        assert int((chaos.path / "counter").read_text()) >= 41

    def archive(path):
        with open(path / "inbox" / "mail", "rb") as source, open(path / "archive" / "mail", "wb") as target:
            shutil.copyfileobj(source, target)
        os.unlink(path / "inbox" / "mail")

    @scenario()
    def test_mail_is_somewhere(chaos):
        (chaos.path / "inbox").mkdir()
        (chaos.path / "archive").mkdir()
        (chaos.path / "inbox" / "mail").write_bytes(b"dear reader" * 100)
        chaos.run(archive, chaos.path)
        there = [p for p in (chaos.path / "inbox" / "mail", chaos.path / "archive" / "mail") if p.exists()]
        assert any(p.read_bytes() == b"dear reader" * 100 for p in there)

    def saved(path, chaos):
        (path / "order").write_text("42")
        chaos.promise("42")

    @scenario()
    def test_confirmed_orders_are_kept(chaos):
        chaos.run(saved, chaos.path, chaos)
        for order in chaos.promised:
            assert (chaos.path / "order").read_text() == order

    def lock(path):
        with open(path / "lock", "x"):
            (path / "data").write_text("new")
        os.unlink(path / "lock")

    @scenario()
    def test_lock_is_released(chaos):
        chaos.run(lock, chaos.path)
        assert not (chaos.path / "lock").exists()

    def rotate(path):
        os.rename(path / "log", path / "log.1")
        (path / "log").write_text("")

    @scenario()
    def test_there_is_always_a_log(chaos):
        (chaos.path / "log").write_text("lines")
        chaos.run(rotate, chaos.path)
        assert (chaos.path / "log").exists()
"""
