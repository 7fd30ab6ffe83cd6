// One connection to a SQLite database.
#pragma once

#include <aura/sqlite/statement.hpp>

#include <sqlite3.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace aura::sqlite {

struct DatabaseOptions {
  std::string path{};
  std::string vfs{};                                      ///< empty: SQLite's default
  bool create = true;                                        ///< where the file is missing
  std::chrono::milliseconds busy_timeout{5000};              ///< how long to wait for another process's write
};

/// Moves, closes itself. Used by one thread at a time. Every call blocks: on the disk, or on another process.
class Database {
 public:
  /// io where it cannot be opened (a missing directory), read_only where it can only be read.
  static Result<Database> open(const DatabaseOptions& options) {
    Database database;
    database.path_ = options.path;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (options.create ? SQLITE_OPEN_CREATE : 0);
    sqlite3* raw = nullptr;
    const int code =
        sqlite3_open_v2(options.path.c_str(), &raw, flags, options.vfs.empty() ? nullptr : options.vfs.c_str());
    database.handle_.reset(raw);
    if (code != SQLITE_OK) return database.error(code, "opening the database");
    sqlite3_busy_timeout(raw, static_cast<int>(options.busy_timeout.count()));
    if (sqlite3_db_readonly(raw, "main") == 1) return database.error(SQLITE_READONLY, "opening the database");
    return database;
  }

  /// One or more statements without arguments; their rows are dropped.
  Result<void> execute(const char* sql, std::string_view doing) {
    const int code = sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return error(code, doing);
    return {};
  }

  Result<Statement> prepare(std::string_view sql) { return Statement::prepare(handle(), path_, sql); }

  /// The first integer that the statement gives, or `otherwise`.
  Result<std::int64_t> integer(std::string_view sql, std::string_view doing, std::int64_t otherwise = 0) {
    auto statement = prepare(sql);
    if (!statement) return statement.error();
    std::int64_t value = otherwise;
    const auto read = statement->each(doing, [&](Row row) {
      value = row.integer(0);
      return false;
    });
    if (!read) return read.error();
    return value;
  }

  Error error(int code, std::string_view doing) const { return error_of(handle(), code, path_, doing); }
  bool in_transaction() const noexcept { return sqlite3_get_autocommit(handle()) == 0; }
  sqlite3* handle() const noexcept { return handle_.get(); }
  const std::string& path() const noexcept { return path_; }

 private:
  struct Close {
    // close_v2 waits for statements that are finalised later, so the order of destruction does not matter.
    void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
  };

  std::unique_ptr<sqlite3, Close> handle_;
  std::string path_;
};

}  // namespace aura::sqlite
