// Everything that writes, on one connection, a group at a time.
#pragma once

#include <aura/sqlite/detail/lease_table.hpp>
#include <aura/sqlite/detail/log_vfs.hpp>
#include <aura/sqlite/detail/pruner.hpp>
#include <aura/sqlite/detail/schema.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace aura::sqlite::detail {

struct WriterOptions {
  std::size_t heads_max;
  std::uint32_t checkpoint_pages;
  bool check_whole_file;
};

/// A machine of `Lane`. Its parts refer to each other, so it stays where it is.
class Writer {
 public:
  /// Creates the file and its tables where they are missing.
  static Result<std::unique_ptr<Writer>> open(DatabaseOptions file, const WriterOptions& options) {
    LogVfs::Held log = LogVfs::make(file.vfs);
    file.vfs = log->name();
    auto db = open_journal(file);
    if (!db) return db.error();
    const std::string pragma = "PRAGMA wal_autocheckpoint=" + std::to_string(options.checkpoint_pages);
    if (auto set = db->execute(pragma.c_str(), "setting up the connection"); !set) return set.error();
    if (options.check_whole_file)
      if (auto whole = check_whole_file(*db); !whole) return whole.error();
    auto session = Session::open(std::move(*db), options.heads_max);
    if (!session) return session.error();
    auto writer = std::unique_ptr<Writer>(new Writer(std::move(log), std::move(*session)));
    if (auto ready = writer->appender.prepare_all(); !ready) return ready.error();
    if (auto ready = writer->leases.prepare_all(); !ready) return ready.error();
    if (auto ready = writer->pruner.prepare_all(); !ready) return ready.error();
    return writer;
  }

  /// One transaction and one sync for all of `operations`, and for those that `more()` adds while it is true. Each has its
  /// result after this, and nobody was told yet.
  template <class Operations, class More>
  void run(Operations& operations, More more) {
    if (auto done = attempt(operations, more); !done)
      for (auto& operation : operations) operation->fail(done.error());
  }

 private:
  LogVfs::Held log_;  ///< first, so that the connection goes before it
  std::unique_ptr<Session> session_;

 public:
  Appender appender;
  LeaseTable leases;
  Pruner pruner;

 private:
  Writer(LogVfs::Held log, std::unique_ptr<Session> session)
      : log_(std::move(log)),
        session_(std::move(session)),
        appender(*session_),
        leases(*session_, appender),
        pruner(*session_) {}

  template <class Operations, class More>
  Result<void> attempt(Operations& operations, More& more) try {
    if (auto begun = session_->begin(); !begun) return begun;
    std::size_t next = 0;
    do {
      while (next < operations.size()) {
        operations[next++]->run(*this);
        if (session_->failure()) {
          session_->rollback();
          return *session_->failure();
        }
        session_->trim();
      }
    } while (more());
    return session_->commit();
  } catch (const std::exception& thrown) {
    session_->rollback();
    return Error(journal_errc::io, ErrorClass::transient, session_->db().path() + ": " + thrown.what());
  }
};

}  // namespace aura::sqlite::detail
