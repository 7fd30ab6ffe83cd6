// What an effect may not do with the connection it is lent.
#pragma once

#include <sqlite3.h>

#include <string_view>

namespace aura::sqlite::detail {

/// An authorizer that is asleep but while an effect runs. SQLite asks it when a statement is prepared.
class EffectGuard {
 public:
  explicit EffectGuard(sqlite3* db) noexcept : db_(db) { sqlite3_set_authorizer(db_, &judge, this); }
  ~EffectGuard() { sqlite3_set_authorizer(db_, nullptr, nullptr); }
  EffectGuard(const EffectGuard&) = delete;
  EffectGuard& operator=(const EffectGuard&) = delete;

  class Scope {
   public:
    explicit Scope(EffectGuard& guard) noexcept : guard_(guard) { guard_.awake_ = true; }
    ~Scope() { guard_.awake_ = false; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    EffectGuard& guard_;
  };

 private:
  static int judge(void* self, int action, const char* first, const char* second, const char*, const char*) {
    if (!static_cast<EffectGuard*>(self)->awake_) return SQLITE_OK;
    switch (action) {
      case SQLITE_READ:
      case SQLITE_SELECT:
      case SQLITE_FUNCTION:
      case SQLITE_RECURSIVE: return SQLITE_OK;
      case SQLITE_TRANSACTION:
      case SQLITE_ATTACH:
      case SQLITE_DETACH:
      case SQLITE_PRAGMA: return SQLITE_DENY;
      case SQLITE_SAVEPOINT: return view(second) == "aura_batch" ? SQLITE_DENY : SQLITE_OK;
      default: return ours(first) || ours(second) ? SQLITE_DENY : SQLITE_OK;
    }
  }

  static std::string_view view(const char* text) noexcept { return text == nullptr ? "" : text; }
  static bool ours(const char* name) noexcept { return view(name).starts_with("aura_journal_"); }

  sqlite3* db_;
  bool awake_ = false;
};

}  // namespace aura::sqlite::detail
