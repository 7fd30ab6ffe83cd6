// A prepared statement: bind, step, reset, in one call.
#pragma once

#include <aura/sqlite/error.hpp>

#include <sqlite3.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace aura::sqlite {

/// Bytes to be bound as a BLOB; a `std::string_view` is bound as TEXT.
struct Blob {
  std::string_view bytes;
};

/// The row a statement stands on. Views live until the callback that got it returns.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) noexcept : statement_(statement) {}

  bool null(int column) const noexcept { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  std::int64_t integer(int column) const noexcept { return sqlite3_column_int64(statement_, column); }
  std::string_view text(int column) const noexcept {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return view(bytes, column);
  }
  std::string_view blob(int column) const noexcept {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return view(bytes, column);
  }

 private:
  std::string_view view(const char* bytes, int column) const noexcept {
    if (bytes == nullptr) return {};
    return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }
  sqlite3_stmt* statement_;
};

/// Used by one thread at a time, as its connection is; must not outlive that. Errors: see `error_of`.
class Statement {
 public:
  Statement() = default;

  static Result<Statement> prepare(sqlite3* db, std::string_view file, std::string_view sql) {
    sqlite3_stmt* raw = nullptr;
    const int code =
        sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    Statement statement;
    statement.handle_.reset(raw);
    if (code != SQLITE_OK) return error_of(db, code, file, "preparing a statement");
    statement.file_ = file;
    return statement;
  }

  /// Runs a statement that gives no row. Arguments are bound in order: integers, `std::string_view`, `Blob`,
  /// optionals of those, `nullptr`.
  template <class... Values>
  Result<void> run(std::string_view doing, const Values&... values) {
    bind(values...);
    const int code = sqlite3_step(handle_.get());
    if (code == SQLITE_DONE || code == SQLITE_ROW) [[likely]] {
      sqlite3_reset(handle_.get());
      return {};
    }
    return failed(code, doing);
  }

  /// Binds arguments from position `first` on (the first is 1): for a statement with more of them than a call can list.
  /// They must live until it has run.
  template <class... Values>
  void bind_from(int first, const Values&... values) {
    (bind_one(first++, values), ...);
  }

  /// Calls `on_row(Row)` for each row, until that returns false. Resets whatever happens.
  template <class OnRow, class... Values>
    requires std::predicate<OnRow&, Row>
  Result<void> each(std::string_view doing, OnRow&& on_row, const Values&... values) {
    bind(values...);
    return step_all(doing, on_row);
  }

  /// The same for arguments that are known at run time only.
  template <class OnRow, class... Types>
    requires std::predicate<OnRow&, Row>
  Result<void> each_bound(std::string_view doing, OnRow&& on_row, const std::vector<std::variant<Types...>>& values) {
    int position = 0;
    for (const auto& value : values) std::visit([&](const auto& held) { bind_one(++position, held); }, value);
    return step_all(doing, on_row);
  }

  sqlite3_stmt* handle() const noexcept { return handle_.get(); }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  struct Reset {
    sqlite3_stmt* statement;
    ~Reset() { sqlite3_reset(statement); }
  };

  template <class OnRow>
  Result<void> step_all(std::string_view doing, OnRow& on_row) {
    const Reset reset{handle_.get()};
    for (;;) {
      const int code = sqlite3_step(handle_.get());
      if (code == SQLITE_DONE) return {};
      if (code != SQLITE_ROW) return failed(code, doing);
      if (!on_row(Row(handle_.get()))) return {};
    }
  }

  template <class... Values>
  void bind(const Values&... values) {
    bind_from(1, values...);
  }

  void bind_one(int at, std::nullptr_t) { sqlite3_bind_null(handle_.get(), at); }
  template <std::integral Integer>
  void bind_one(int at, Integer value) {
    sqlite3_bind_int64(handle_.get(), at, static_cast<sqlite3_int64>(value));
  }
  void bind_one(int at, std::string_view text) {
    // A null pointer would bind NULL.
    const char* bytes = text.data() == nullptr ? "" : text.data();
    sqlite3_bind_text64(handle_.get(), at, bytes, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  void bind_one(int at, Blob blob) {
    const char* bytes = blob.bytes.data() == nullptr ? "" : blob.bytes.data();
    sqlite3_bind_blob64(handle_.get(), at, bytes, blob.bytes.size(), SQLITE_STATIC);
  }
  template <class T>
  void bind_one(int at, const std::optional<T>& value) {
    if (value) return bind_one(at, *value);
    sqlite3_bind_null(handle_.get(), at);
  }

  Error failed(int code, std::string_view doing) {
    Error error = error_of(sqlite3_db_handle(handle_.get()), code, file_, doing);
    sqlite3_reset(handle_.get());
    return error;
  }

  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  std::string file_;
};

}  // namespace aura::sqlite
