// The methods of one open file under a `sqlite::Vfs`.
#pragma once

#include <aura/core/result.hpp>
#include <aura/sqlite/detail/vfs_locks.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace aura::sqlite::detail {

/// No exception may pass through SQLite, which is C.
template <class Call>
int guarded(int on_exception, Call&& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (...) {
    return on_exception;
  }
}

/// Lies in memory that SQLite gives: its base is all that SQLite sees of it.
template <class Disk>
class VfsFile : public sqlite3_file {
 public:
  static void place(sqlite3_file* where, Disk& device, typename Disk::File handle, std::string name,
                    std::shared_ptr<SharedFile> shared, bool created, int flags) {
    VfsFile* file = ::new (static_cast<void*>(where)) VfsFile;
    file->state_ = new State{device, handle, std::move(name), std::move(shared), created, flags};
    file->pMethods = &methods;
  }

 private:
  struct State {
    Disk& device;
    typename Disk::File handle;
    std::string name;
    std::shared_ptr<SharedFile> shared;
    bool name_unsynced;  // created here, and the directory was not synced since
    int flags;
    std::uint64_t incarnation = device.incarnation();
    int lock = SQLITE_LOCK_NONE;
    std::shared_ptr<WalIndex> index{};
    WalIndex::Held index_locks{};
  };

  static State& of(sqlite3_file* file) noexcept { return *static_cast<VfsFile*>(file)->state_; }

  static int status(const State& state, const Result<void>& done, int code) {
    if (done) return SQLITE_OK;
    return state.device.is_full(done.error()) ? SQLITE_FULL : code;
  }

  static int close(sqlite3_file* file) {
    return guarded(SQLITE_IOERR_CLOSE, [&] {
      const std::unique_ptr<State> state(static_cast<VfsFile*>(file)->state_);
      file->pMethods = nullptr;
      if (state->index) state->index->unlock_all(state->index_locks);
      state->shared->locks.unlock(state->lock, SQLITE_LOCK_NONE);
      state->device.close(state->handle);
      if ((state->flags & SQLITE_OPEN_DELETEONCLOSE) != 0) (void)state->device.remove(state->name);
      return SQLITE_OK;
    });
  }

  static int read(sqlite3_file* file, void* into, int bytes, sqlite3_int64 offset) {
    return guarded(SQLITE_IOERR_READ, [&] {
      State& state = of(file);
      const std::span<char> all(static_cast<char*>(into), static_cast<std::size_t>(bytes));
      const Result<std::size_t> read = state.device.read(state.handle, static_cast<std::uint64_t>(offset), all);
      if (!read) return SQLITE_IOERR_READ;
      std::fill(all.begin() + static_cast<std::ptrdiff_t>(*read), all.end(), '\0');
      return *read == all.size() ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
    });
  }

  static int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
    return guarded(SQLITE_IOERR_WRITE, [&] {
      State& state = of(file);
      const std::string_view all(static_cast<const char*>(from), static_cast<std::size_t>(bytes));
      return status(state, state.device.write(state.handle, static_cast<std::uint64_t>(offset), all),
                    SQLITE_IOERR_WRITE);
    });
  }

  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    return guarded(SQLITE_IOERR_TRUNCATE, [&] {
      State& state = of(file);
      return status(state, state.device.truncate(state.handle, static_cast<std::uint64_t>(size)),
                    SQLITE_IOERR_TRUNCATE);
    });
  }

  /// The first sync of a file that was created here also makes its name durable, as SQLite's own Unix VFS does.
  static int sync(sqlite3_file* file, int) {
    return guarded(SQLITE_IOERR_FSYNC, [&] {
      State& state = of(file);
      const int synced = status(state, state.device.sync(state.handle), SQLITE_IOERR_FSYNC);
      if (synced != SQLITE_OK || !state.name_unsynced) return synced;
      if (!state.device.sync_directory()) return SQLITE_IOERR_DIR_FSYNC;
      state.name_unsynced = false;
      return SQLITE_OK;
    });
  }

  static int file_size(sqlite3_file* file, sqlite3_int64* size) {
    return guarded(SQLITE_IOERR_FSTAT, [&] {
      const Result<std::uint64_t> known = of(file).device.size(of(file).handle);
      if (!known) return SQLITE_IOERR_FSTAT;
      *size = static_cast<sqlite3_int64>(*known);
      return SQLITE_OK;
    });
  }

  /// A connection of before a restart gets no lock: closing it would delete the WAL of those that came after.
  static int lock(sqlite3_file* file, int level) {
    return guarded(SQLITE_IOERR_LOCK, [&] {
      State& state = of(file);
      if (state.incarnation != state.device.incarnation()) return SQLITE_IOERR_LOCK;
      return state.shared->locks.lock(state.lock, level);
    });
  }

  static int unlock(sqlite3_file* file, int level) {
    return guarded(SQLITE_IOERR_UNLOCK, [&] {
      of(file).shared->locks.unlock(of(file).lock, level);
      return SQLITE_OK;
    });
  }

  static int check_reserved_lock(sqlite3_file* file, int* out) {
    return guarded(SQLITE_IOERR_CHECKRESERVEDLOCK, [&] {
      *out = of(file).shared->locks.reserved() ? 1 : 0;
      return SQLITE_OK;
    });
  }

  static int sector_size(sqlite3_file* file) { return static_cast<int>(of(file).device.sector_bytes()); }

  static int device_characteristics(sqlite3_file* file) {
    return of(file).device.powersafe_overwrite() ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
  }

  static int shm_map(sqlite3_file* file, int number, int bytes, int extend, void volatile** out) {
    return guarded(SQLITE_IOERR_SHMMAP, [&] {
      State& state = of(file);
      if (!state.index) state.index = state.shared->map_index();
      *out = state.index->region(static_cast<std::size_t>(number), static_cast<std::size_t>(bytes), extend != 0);
      return SQLITE_OK;
    });
  }

  static int shm_lock(sqlite3_file* file, int first, int count, int flags) {
    return guarded(SQLITE_IOERR_SHMLOCK, [&] {
      State& state = of(file);
      return state.index->lock(state.index_locks, static_cast<std::size_t>(first), static_cast<std::size_t>(count),
                               flags);
    });
  }

  static void shm_barrier(sqlite3_file* file) { of(file).index->barrier(); }

  /// The index dies with its last connection, whether or not SQLite asks for its deletion: it is no file.
  static int shm_unmap(sqlite3_file* file, int) {
    return guarded(SQLITE_IOERR_SHMMAP, [&] {
      State& state = of(file);
      if (state.index) state.index->unlock_all(state.index_locks);
      state.index.reset();
      return SQLITE_OK;
    });
  }

  static constexpr sqlite3_io_methods make_methods() noexcept {
    sqlite3_io_methods made{};
    made.iVersion = 2;
    made.xClose = close;
    made.xRead = read;
    made.xWrite = write;
    made.xTruncate = truncate;
    made.xSync = sync;
    made.xFileSize = file_size;
    made.xLock = lock;
    made.xUnlock = unlock;
    made.xCheckReservedLock = check_reserved_lock;
    made.xFileControl = [](sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; };
    made.xSectorSize = sector_size;
    made.xDeviceCharacteristics = device_characteristics;
    made.xShmMap = shm_map;
    made.xShmLock = shm_lock;
    made.xShmBarrier = shm_barrier;
    made.xShmUnmap = shm_unmap;
    return made;
  }
  static const sqlite3_io_methods methods;

  State* state_ = nullptr;
};

template <class Disk>
const sqlite3_io_methods VfsFile<Disk>::methods = VfsFile::make_methods();

}  // namespace aura::sqlite::detail
