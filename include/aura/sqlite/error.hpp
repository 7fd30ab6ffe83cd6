// What SQLite says, as an `Error` that names the file.
#pragma once

#include <aura/core/journal.hpp>

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

namespace aura::sqlite {

namespace detail {

struct Meaning {
  journal_errc code;
  ErrorClass error_class;
  const char* hint;  ///< what a person should think of, or empty
};

inline Meaning meaning_of(int code, int system_error) noexcept {
  if (system_error == ENOSPC || system_error == EDQUOT) code = SQLITE_FULL;
  switch (code & 0xFF) {
    case SQLITE_FULL: return {journal_errc::full, ErrorClass::transient, "there is no room on the disk"};
    case SQLITE_READONLY: return {journal_errc::read_only, ErrorClass::permanent, "it cannot be written"};
    case SQLITE_NOTADB: return {journal_errc::corrupt, ErrorClass::permanent, ""};
    case SQLITE_CORRUPT: return {journal_errc::corrupt, ErrorClass::permanent, "it is damaged"};
    case SQLITE_CONSTRAINT:
      return {journal_errc::corrupt, ErrorClass::permanent, "its contents contradict themselves"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {journal_errc::locked, ErrorClass::transient, "another process holds the database"};
    case SQLITE_IOERR:
    case SQLITE_NOMEM: return {journal_errc::io, ErrorClass::transient, ""};
    default: return {journal_errc::io, ErrorClass::permanent, ""};
  }
}

}  // namespace detail

/// "orders.db: committing: there is no room on the disk (database or disk is full)". Codes of the domain "journal":
/// full, read_only, corrupt, locked, and io for the rest, which is transient where SQLite says IOERR or NOMEM.
/// `db` may be null; else it must be the connection that just gave `code`.
inline Error error_of(sqlite3* db, int code, std::string_view file, std::string_view doing) {
  // The system's last error belongs to this failure only where SQLite says that the system failed.
  const int kind = code & 0xFF;
  const bool by_system = kind == SQLITE_CANTOPEN || kind == SQLITE_IOERR || kind == SQLITE_FULL;
  const int system_error = db != nullptr && by_system ? sqlite3_system_errno(db) : 0;
  const detail::Meaning meaning = detail::meaning_of(code, system_error);
  std::string detail =
      db != nullptr && sqlite3_extended_errcode(db) == code ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  if (system_error != 0) detail.append(": ").append(std::strerror(system_error));
  std::string line(file);
  line.append(": ").append(doing).append(": ").append(meaning.hint);
  line.append(*meaning.hint == '\0' ? detail : " (" + detail + ")");
  return Error(meaning.code, meaning.error_class, std::move(line));
}

}  // namespace aura::sqlite
