// A VFS before another one that writes SQLite's log in large pieces. SQLite writes each page of a transaction in two
// calls; here they gather until the sync, which costs a group commit a fifth less.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <string>

namespace aura::sqlite::detail {

/// Consecutive writes to a log, held back until the sync, or until anything else is done with the file. Nobody can miss
/// them: with synchronous=FULL a page of the log is read by another connection only after its transaction was synced.
/// A failed write is told by the call that caused it, at the latest by the sync, and its bytes are dropped: SQLite takes
/// back the transaction they belong to.
class LogBuffer {
 public:
  static constexpr std::size_t bytes_max = std::size_t{120} << 10;  ///< the VFS for Unix takes less than 128 KiB

  explicit LogBuffer(sqlite3_file* file) : file_(file) {}

  int write(const char* bytes, std::size_t size, sqlite3_int64 offset) {
    if (bytes_ == nullptr) bytes_.reset(new (std::nothrow) char[bytes_max]);
    if (bytes_ == nullptr || size > bytes_max) return pass(bytes, size, offset);
    if (size_ != 0 && (offset != begin_ + static_cast<sqlite3_int64>(size_) || size_ + size > bytes_max))
      if (const int code = flush(); code != SQLITE_OK) return code;
    if (size_ == 0) begin_ = offset;
    std::memcpy(bytes_.get() + size_, bytes, size);
    size_ += size;
    return SQLITE_OK;
  }

  int flush() {
    if (size_ == 0) return SQLITE_OK;
    const std::size_t size = size_;
    size_ = 0;
    return file_->pMethods->xWrite(file_, bytes_.get(), static_cast<int>(size), begin_);
  }

 private:
  int pass(const char* bytes, std::size_t size, sqlite3_int64 offset) {
    if (const int code = flush(); code != SQLITE_OK) return code;
    return file_->pMethods->xWrite(file_, bytes, static_cast<int>(size), offset);
  }

  sqlite3_file* file_;
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
  sqlite3_int64 begin_ = 0;
};

/// Registered under a name of its own as long as it is held. Connections that use it must be set to synchronous=FULL, and
/// be closed before. Files other than logs are the other VFS's own.
class LogVfs {
 public:
  /// A connection that somebody else's statement keeps alive still needs its VFS: then this stays where it is.
  struct Release {
    void operator()(LogVfs* vfs) const noexcept {
      if (vfs->base_ != nullptr) sqlite3_vfs_unregister(&vfs->vfs_);
      if (vfs->open_files_ == 0) delete vfs;
    }
  };
  using Held = std::unique_ptr<LogVfs, Release>;

  /// Before the VFS of that name (empty: the default one). Where there is none, opening with `name()` says so.
  static Held make(const std::string& base) { return Held(new LogVfs(base)); }

  const std::string& name() const noexcept { return name_; }

 private:
  /// What SQLite gives memory for; the other VFS's file lies behind it.
  struct LogFile {
    sqlite3_file methods;
    LogBuffer buffer;
    LogVfs* vfs;
  };
  static constexpr std::size_t header_bytes = (sizeof(LogFile) + 15) / 16 * 16;

  static sqlite3_vfs* base_of(sqlite3_vfs* vfs) { return static_cast<LogVfs*>(vfs->pAppData)->base_; }
  static LogBuffer& buffer_of(sqlite3_file* file) { return reinterpret_cast<LogFile*>(file)->buffer; }
  static sqlite3_file* real_of(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + header_bytes);
  }

  explicit LogVfs(const std::string& base)
      : base_(sqlite3_vfs_find(base.empty() ? nullptr : base.c_str())), name_(base) {
    if (base_ == nullptr) return;
    static std::atomic<unsigned> made{0};
    name_ = "aura-log-" + std::to_string(++made);
    vfs_ = *base_;
    vfs_.iVersion = std::min(vfs_.iVersion, 2);  // later ones are about system calls
    vfs_.pNext = nullptr;
    vfs_.zName = name_.c_str();
    vfs_.pAppData = this;
    vfs_.szOsFile = static_cast<int>(header_bytes) + base_->szOsFile;
    vfs_.xOpen = &open;
    forward();
    sqlite3_vfs_register(&vfs_, 0);
  }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
    sqlite3_vfs* const base = base_of(vfs);
    if ((flags & SQLITE_OPEN_WAL) == 0) return base->xOpen(base, name, file, flags, flags_out);
    file->pMethods = nullptr;
    const int code = base->xOpen(base, name, real_of(file), flags, flags_out);
    if (code != SQLITE_OK) {
      if (real_of(file)->pMethods != nullptr) real_of(file)->pMethods->xClose(real_of(file));
      return code;
    }
    static const sqlite3_io_methods methods = log_methods();
    LogVfs& self = *static_cast<LogVfs*>(vfs->pAppData);
    new (file) LogFile{{&methods}, LogBuffer(real_of(file)), &self};
    ++self.open_files_;
    return SQLITE_OK;
  }

  /// Calls a method of the real file after what was held back.
  template <auto Method, class... Arguments>
  static int after_flush(sqlite3_file* file, Arguments... arguments) {
    const int code = buffer_of(file).flush();
    sqlite3_file* const real = real_of(file);
    return code != SQLITE_OK ? code : (real->pMethods->*Method)(real, arguments...);
  }

  static int close(sqlite3_file* file) {
    const int flushed = buffer_of(file).flush();
    const int closed = real_of(file)->pMethods->xClose(real_of(file));
    --reinterpret_cast<LogFile*>(file)->vfs->open_files_;
    reinterpret_cast<LogFile*>(file)->~LogFile();
    return flushed != SQLITE_OK ? flushed : closed;
  }

  static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    return buffer_of(file).write(static_cast<const char*>(bytes), static_cast<std::size_t>(size), offset);
  }

  /// SQLite calls no other method for a log: its locks and shared memory are the database file's.
  static sqlite3_io_methods log_methods() {
    sqlite3_io_methods methods{};
    methods.iVersion = 1;
    methods.xClose = &close;
    methods.xRead = &after_flush<&sqlite3_io_methods::xRead, void*, int, sqlite3_int64>;
    methods.xWrite = &write;
    methods.xTruncate = &after_flush<&sqlite3_io_methods::xTruncate, sqlite3_int64>;
    methods.xSync = &after_flush<&sqlite3_io_methods::xSync, int>;
    methods.xFileSize = &after_flush<&sqlite3_io_methods::xFileSize, sqlite3_int64*>;
    methods.xLock = &after_flush<&sqlite3_io_methods::xLock, int>;
    methods.xUnlock = &after_flush<&sqlite3_io_methods::xUnlock, int>;
    methods.xCheckReservedLock = &after_flush<&sqlite3_io_methods::xCheckReservedLock, int*>;
    methods.xFileControl = &after_flush<&sqlite3_io_methods::xFileControl, int, void*>;
    methods.xSectorSize = [](sqlite3_file* file) { return real_of(file)->pMethods->xSectorSize(real_of(file)); };
    methods.xDeviceCharacteristics = [](sqlite3_file* file) {
      return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
    };
    return methods;
  }

  template <auto Method>
  struct Forward;
  template <class R, class... Arguments, R (*sqlite3_vfs::*Method)(sqlite3_vfs*, Arguments...)>
  struct Forward<Method> {
    static R call(sqlite3_vfs* vfs, Arguments... arguments) {
      return (base_of(vfs)->*Method)(base_of(vfs), arguments...);
    }
  };
  template <auto Method>
  void forward_one() {
    if (base_->*Method != nullptr) vfs_.*Method = &Forward<Method>::call;
  }

  static void (*find_symbol(sqlite3_vfs* vfs, void* library, const char* symbol))() {
    return base_of(vfs)->xDlSym(base_of(vfs), library, symbol);
  }

  void forward() {
    forward_one<&sqlite3_vfs::xDelete>();
    forward_one<&sqlite3_vfs::xAccess>();
    forward_one<&sqlite3_vfs::xFullPathname>();
    forward_one<&sqlite3_vfs::xRandomness>();
    forward_one<&sqlite3_vfs::xSleep>();
    forward_one<&sqlite3_vfs::xCurrentTime>();
    forward_one<&sqlite3_vfs::xGetLastError>();
    forward_one<&sqlite3_vfs::xDlOpen>();
    forward_one<&sqlite3_vfs::xDlError>();
    forward_one<&sqlite3_vfs::xDlClose>();
    if (vfs_.iVersion >= 2) forward_one<&sqlite3_vfs::xCurrentTimeInt64>();
    if (base_->xDlSym != nullptr) vfs_.xDlSym = &find_symbol;
  }

  sqlite3_vfs* base_;
  std::string name_;
  sqlite3_vfs vfs_{};
  std::atomic<int> open_files_{0};
};

}  // namespace aura::sqlite::detail
