// The tables of a journal in SQLite, their format's version, and who may open them.
#pragma once

#include <aura/sqlite/database.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

namespace aura::sqlite::detail {

inline constexpr std::int64_t application_id = 0x41555241;  // "AURA"
inline constexpr std::int64_t format_version = 1;

/// Format 1. A record is one row at the end of a table and one entry of an index: scattered over a tree by its
/// stream it would dirty a page of its own in each group commit, which costs half the throughput.
/// Streams are found by kind, open and state through one index: without a state the few that occur are looked up first.
/// Every index but one ends in the stream's id, so what is written together lies together even where names are random.
/// What a stream's version is and when it was last changed stands in its last record alone, so that an append
/// writes no other row.
inline constexpr const char* schema = R"sql(
CREATE TABLE aura_journal_streams(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  open INTEGER NOT NULL,
  holder TEXT NOT NULL,
  token INTEGER NOT NULL,
  due INTEGER,
  created INTEGER NOT NULL,
  closed INTEGER
) STRICT;
CREATE UNIQUE INDEX aura_journal_by_name ON aura_journal_streams(name);
CREATE INDEX aura_journal_by_state ON aura_journal_streams(kind, open, state);
CREATE INDEX aura_journal_by_due ON aura_journal_streams(kind, due) WHERE due IS NOT NULL;
CREATE INDEX aura_journal_by_closing ON aura_journal_streams(kind, closed) WHERE closed IS NOT NULL;
CREATE TABLE aura_journal_records(
  id INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  version INTEGER NOT NULL,
  type TEXT NOT NULL,
  meta BLOB NOT NULL,
  payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX aura_journal_by_version ON aura_journal_records(stream, version);
CREATE TABLE aura_journal_attributes(
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  stream INTEGER NOT NULL,
  PRIMARY KEY(kind, name, value, stream)
) STRICT, WITHOUT ROWID;
CREATE INDEX aura_journal_by_stream ON aura_journal_attributes(stream, name);
CREATE TABLE aura_journal_leases(
  holder TEXT PRIMARY KEY,
  token INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE aura_journal_counters(
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO aura_journal_counters VALUES('token', 0);
)sql";

/// The format in the file, 0 where it holds no journal yet.
/// newer_format where a later library wrote it; corrupt where it is no database or another program's.
inline Result<std::int64_t> read_format(Database& db) {
  const auto application = db.integer("PRAGMA application_id", "reading the file's header");
  if (!application) return application.error();
  const auto version = db.integer("PRAGMA user_version", "reading the file's header");
  if (!version) return version.error();
  if (*application != application_id && (*application != 0 || *version != 0))
    return Error(journal_errc::corrupt, ErrorClass::permanent,
                 db.path() + " belongs to another program (its application_id is " + std::to_string(*application) +
                     ", its user_version " + std::to_string(*version) + ")");
  if (*version > format_version)
    return Error(journal_errc::newer_format, ErrorClass::permanent,
                 db.path() + " has journal format " + std::to_string(*version) +
                     ", and this version of aura reads formats up to " + std::to_string(format_version));
  if (*version < 0 || (*application == application_id && *version == 0))
    return Error(journal_errc::corrupt, ErrorClass::permanent,
                 db.path() + " has journal format " + std::to_string(*version) + ", which never was");
  return *version;
}

/// WAL with FULL: a commit has returned once its frames are synced.
inline Result<void> configure(Database& db) {
  std::string mode;
  auto statement = db.prepare("PRAGMA journal_mode=WAL");
  if (!statement) return statement.error();
  const auto switched = statement->each("switching to WAL", [&](Row row) {
    mode = row.text(0);
    return false;
  });
  if (!switched) return switched.error();
  if (mode != "wal")
    return Error(journal_errc::io, ErrorClass::permanent,
                 db.path() + ": its file system or VFS cannot do WAL (journal mode stays \"" + mode + "\")");
  return db.execute("PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-32768;",
                    "setting up the connection");
}

/// Creates the tables where the file has none. Two processes may do so at once: the second finds them.
inline Result<void> create_tables(Database& db) {
  if (auto begun = db.execute("BEGIN IMMEDIATE", "creating the tables"); !begun) return begun;
  const auto format = read_format(db);
  Result<void> made = format ? Result<void>() : Result<void>(format.error());
  if (format && *format == 0) {
    const std::string text = std::string(schema) + "PRAGMA application_id=" + std::to_string(application_id) +
                             "; PRAGMA user_version=" + std::to_string(format_version) + ";";
    made = db.execute(text.c_str(), "creating the tables");
  }
  if (made) made = db.execute("COMMIT", "creating the tables");
  if (!made && db.in_transaction()) sqlite3_exec(db.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  return made;
}

/// Finds what a flipped byte did to an index: without this a stream may be there and not be found.
inline Result<void> check_whole_file(Database& db) {
  std::string verdict;
  auto statement = db.prepare("PRAGMA integrity_check(1)");
  if (!statement) return statement.error();
  const auto read = statement->each("checking the file", [&](Row row) {
    verdict = row.text(0);
    return false;
  });
  if (!read) return read;
  std::replace(verdict.begin(), verdict.end(), '\n', ' ');
  if (verdict != "ok")
    return Error(journal_errc::corrupt, ErrorClass::permanent, db.path() + ": it is damaged (" + verdict + ")");
  return {};
}

/// Opens a file as a journal: looks at its format before anything in it is changed.
inline Result<Database> open_journal(const DatabaseOptions& options) {
  auto db = Database::open(options);
  if (!db) return db;
  const auto format = read_format(*db);
  if (!format) return format.error();
  if (auto configured = configure(*db); !configured) return configured.error();
  if (*format == 0)
    if (auto created = create_tables(*db); !created) return created.error();
  return db;
}

}  // namespace aura::sqlite::detail
