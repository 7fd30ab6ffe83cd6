// SQLite on a disk of the host's own: how the real SQLite is tested against power loss, full disks and failures.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>
#include <aura/sqlite/detail/vfs_file.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace aura::sqlite {

/// Named files in one directory; `aura::sim::Disk` models it.
///
/// - Everything gives a `Result` whose error `is_full` tells apart: SQLite says SQLITE_FULL for those, and one of
///   SQLITE_IOERR's kinds for the others.
/// - `open` makes the file where it is not there and shall; `read` gives less than asked for only at the file's end.
/// - `sync(file)` makes its contents durable, `sync_directory` what was created and removed.
/// - `sector_bytes`, `powersafe_overwrite`: what SQLite may rely on when power goes (the second: never harms bytes
///   outside of what was written).
/// - `incarnation` changes when the machine restarts: connections of before share no lock with those of after.
template <class D>
concept disk = requires(D& device, typename D::File file, std::string_view name, std::uint64_t offset,
                        std::span<char> into, std::string_view bytes, const Error& error) {
  { device.exists(name) } -> std::same_as<Result<bool>>;
  { device.open(name, true) } -> std::same_as<Result<typename D::File>>;
  device.close(file);
  { device.size(file) } -> std::same_as<Result<std::uint64_t>>;
  { device.read(file, offset, into) } -> std::same_as<Result<std::size_t>>;
  { device.write(file, offset, bytes) } -> std::same_as<Result<void>>;
  { device.truncate(file, offset) } -> std::same_as<Result<void>>;
  { device.sync(file) } -> std::same_as<Result<void>>;
  { device.remove(name) } -> std::same_as<Result<void>>;
  { device.sync_directory() } -> std::same_as<Result<void>>;
  { device.is_full(error) } -> std::convertible_to<bool>;
  { device.sector_bytes() } -> std::convertible_to<std::size_t>;
  { device.powersafe_overwrite() } -> std::convertible_to<bool>;
  { device.incarnation() } -> std::convertible_to<std::uint64_t>;
};

struct VfsOptions {
  std::string name{};  ///< must be unlike any other's; empty: one is made up
  std::function<WallTime()> wall_now{};  ///< for CURRENT_TIMESTAMP and its like; empty: always 1970
  std::function<void(Duration)> sleep{};  ///< of a busy handler; empty: returns at once
};

/// Makes what SQLite draws (salts of its WAL, `random()`, `randomblob`) a function of the seed, from now on. SQLite
/// has one generator for the whole process, which no VFS feeds but the default one. Call it before each run that
/// shall replay. The seed must not be 0.
inline void seed_randomness(int seed) { sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, seed, nullptr); }

/// An SQLite VFS over a disk, registered from construction to destruction; never the default one.
///
///     aura::sim::Disk disk;
///     aura::sqlite::Vfs vfs(disk);
///     sqlite3_open_v2("app.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs.name().c_str());
///
/// Several connections of this process may share a database, in rollback and in WAL mode; other processes can't.
/// Close every connection before destroying it. Those of before a power loss can do no harm after it, and are closed
/// like any other. As thread-safe as the disk.
template <disk Disk>
class Vfs {
 public:
  /// \throws std::runtime_error where SQLite refuses it.
  explicit Vfs(Disk& device, VfsOptions options = {}) : device_(device), options_(std::move(options)) {
    static std::atomic<unsigned> made{0};
    if (options_.name.empty()) options_.name = "aura-vfs-" + std::to_string(++made);
    vfs_.iVersion = 2;
    vfs_.szOsFile = static_cast<int>(sizeof(File));
    vfs_.mxPathname = 512;
    vfs_.zName = options_.name.c_str();
    vfs_.pAppData = this;
    vfs_.xOpen = open;
    vfs_.xDelete = remove;
    vfs_.xAccess = access;
    vfs_.xFullPathname = full_pathname;
    vfs_.xRandomness = randomness;
    vfs_.xSleep = sleep;
    vfs_.xCurrentTime = current_time;
    vfs_.xGetLastError = [](sqlite3_vfs*, int, char*) { return 0; };
    vfs_.xCurrentTimeInt64 = current_time_64;
    if (sqlite3_vfs_register(&vfs_, 0) != SQLITE_OK)
      throw std::runtime_error("SQLite does not register the VFS " + options_.name);
  }
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;
  ~Vfs() { sqlite3_vfs_unregister(&vfs_); }

  /// For sqlite3_open_v2, or `?vfs=` in a URI.
  const std::string& name() const noexcept { return options_.name; }

 private:
  using File = detail::VfsFile<Disk>;

  static Vfs& self(sqlite3_vfs* vfs) noexcept { return *static_cast<Vfs*>(vfs->pAppData); }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
    file->pMethods = nullptr;
    return detail::guarded(SQLITE_CANTOPEN, [&] { return self(vfs).open_file(name, file, flags, flags_out); });
  }

  int open_file(const char* given, sqlite3_file* file, int flags, int* flags_out) {
    const std::scoped_lock guard(mutex_);
    const std::string name = given != nullptr ? given : "temporary-" + std::to_string(++temporaries_);
    const Result<bool> there = device_.exists(name);
    if (!there) return SQLITE_CANTOPEN;
    const bool create = (flags & SQLITE_OPEN_CREATE) != 0 && !*there;
    if (*there && (flags & SQLITE_OPEN_EXCLUSIVE) != 0) return SQLITE_CANTOPEN;
    const Result<typename Disk::File> opened = device_.open(name, create);
    if (!opened) return device_.is_full(opened.error()) ? SQLITE_FULL : SQLITE_CANTOPEN;

    std::erase_if(shared_, [](const auto& entry) { return entry.second.expired(); });
    auto& slot = shared_[{name, device_.incarnation()}];
    std::shared_ptr<detail::SharedFile> shared = slot.lock();
    if (!shared) slot = shared = std::make_shared<detail::SharedFile>();
    File::place(file, device_, *opened, name, std::move(shared), create, flags);
    if (flags_out != nullptr) *flags_out = flags;
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs* vfs, const char* name, int sync_directory) {
    return detail::guarded(SQLITE_IOERR_DELETE, [&] {
      Disk& device = self(vfs).device_;
      const Result<bool> there = device.exists(name);
      if (there && !*there) return SQLITE_IOERR_DELETE_NOENT;
      if (!there || !device.remove(name)) return SQLITE_IOERR_DELETE;
      if (sync_directory != 0 && !device.sync_directory()) return SQLITE_IOERR_DIR_FSYNC;
      return SQLITE_OK;
    });
  }

  static int access(sqlite3_vfs* vfs, const char* name, int, int* out) {
    return detail::guarded(SQLITE_IOERR_ACCESS, [&] {
      const Result<bool> there = self(vfs).device_.exists(name);
      if (!there) return SQLITE_IOERR_ACCESS;
      *out = *there ? 1 : 0;
      return SQLITE_OK;
    });
  }

  static int full_pathname(sqlite3_vfs*, const char* name, int bytes, char* out) {
    const std::string_view text(name);
    if (text.size() >= static_cast<std::size_t>(bytes)) return SQLITE_CANTOPEN;
    *std::copy(text.begin(), text.end(), out) = '\0';
    return SQLITE_OK;
  }

  static int randomness(sqlite3_vfs* vfs, int bytes, char* out) {
    const std::scoped_lock guard(self(vfs).mutex_);
    for (int i = 0; i < bytes; ++i) out[i] = static_cast<char>(self(vfs).random_());
    return bytes;
  }

  static int sleep(sqlite3_vfs* vfs, int microseconds) {
    const VfsOptions& options = self(vfs).options_;
    return detail::guarded(microseconds, [&] {
      if (options.sleep) options.sleep(std::chrono::microseconds(microseconds));
      return microseconds;
    });
  }

  static int current_time_64(sqlite3_vfs* vfs, sqlite3_int64* out) {
    constexpr std::int64_t unix_epoch_ms = 210'866'760'000'000;  // of the Julian day number, which begins at a noon
    const VfsOptions& options = self(vfs).options_;
    return detail::guarded(SQLITE_ERROR, [&] {
      const WallTime now = options.wall_now ? options.wall_now() : WallTime{};
      *out = unix_epoch_ms + std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count();
      return SQLITE_OK;
    });
  }

  static int current_time(sqlite3_vfs* vfs, double* out) {
    sqlite3_int64 milliseconds = 0;
    const int status = current_time_64(vfs, &milliseconds);
    *out = static_cast<double>(milliseconds) / 86'400'000.0;
    return status;
  }

  Disk& device_;
  VfsOptions options_;
  sqlite3_vfs vfs_{};
  std::mutex mutex_;
  std::map<std::pair<std::string, std::uint64_t>, std::weak_ptr<detail::SharedFile>> shared_;
  std::uint64_t temporaries_ = 0;
  Random random_{1};
};

}  // namespace aura::sqlite
