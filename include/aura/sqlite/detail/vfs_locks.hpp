// What connections of one process share of one file under a `sqlite::Vfs`: its locks, and the index of its WAL.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace aura::sqlite::detail {

/// The five lock levels of https://www.sqlite.org/lockingv3.html. Each connection keeps its own level and passes it
/// in.
class FileLocks {
 public:
  /// SQLITE_OK, and the level is raised, or SQLITE_BUSY.
  int lock(int& held, int wanted) {
    const std::scoped_lock guard(mutex_);
    if (held >= wanted) return SQLITE_OK;
    if (held == SQLITE_LOCK_NONE) {
      if (writer_ >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
      ++readers_;
      held = SQLITE_LOCK_SHARED;
      if (wanted == SQLITE_LOCK_SHARED) return SQLITE_OK;
    }
    if (held == SQLITE_LOCK_SHARED && writer_ != SQLITE_LOCK_NONE) return SQLITE_BUSY;
    if (wanted == SQLITE_LOCK_EXCLUSIVE && readers_ > 1) {
      writer_ = held = SQLITE_LOCK_PENDING;  // lets nobody else in until the readers have gone
      return SQLITE_BUSY;
    }
    writer_ = held = wanted;
    return SQLITE_OK;
  }

  void unlock(int& held, int wanted) {
    const std::scoped_lock guard(mutex_);
    if (held <= wanted) return;
    if (held > SQLITE_LOCK_SHARED) writer_ = SQLITE_LOCK_NONE;
    if (wanted == SQLITE_LOCK_NONE) --readers_;
    held = wanted;
  }

  bool reserved() {
    const std::scoped_lock guard(mutex_);
    return writer_ != SQLITE_LOCK_NONE;
  }

 private:
  std::mutex mutex_;
  int readers_ = 0;  // connections at SHARED or above
  int writer_ = SQLITE_LOCK_NONE;  // the level of the one above SHARED, if any
};

/// The shared memory of a WAL, and its eight locks.
class WalIndex {
 public:
  /// Which of the locks one connection holds.
  struct Held {
    std::array<bool, SQLITE_SHM_NLOCK> shared{};
    std::array<bool, SQLITE_SHM_NLOCK> exclusive{};
  };

  /// Null where there is none and none shall be made. The address stays good for the index's life.
  void* region(std::size_t number, std::size_t bytes, bool extend) {
    const std::scoped_lock guard(mutex_);
    while (extend && regions_.size() <= number) regions_.push_back(std::make_unique<std::byte[]>(bytes));
    return number < regions_.size() ? regions_[number].get() : nullptr;
  }

  /// SQLITE_OK or SQLITE_BUSY, all of the range or nothing.
  int lock(Held& held, std::size_t first, std::size_t count, int flags) {
    const std::scoped_lock guard(mutex_);
    const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    for (std::size_t i = first; i < first + count; ++i) {
      const bool mine = exclusive ? held.exclusive[i] : held.shared[i];
      if ((flags & SQLITE_SHM_UNLOCK) != 0 || mine) continue;
      const int others = readers_[i] - (held.shared[i] ? 1 : 0);
      if (writer_[i] || (exclusive && others > 0)) return SQLITE_BUSY;
    }
    for (std::size_t i = first; i < first + count; ++i) set(held, i, exclusive, (flags & SQLITE_SHM_LOCK) != 0);
    return SQLITE_OK;
  }

  void unlock_all(Held& held) {
    const std::scoped_lock guard(mutex_);
    for (std::size_t i = 0; i < SQLITE_SHM_NLOCK; ++i) {
      set(held, i, true, false);
      set(held, i, false, false);
    }
  }

  /// Orders the memory accesses of two threads, as unlocking and locking any mutex does.
  void barrier() { const std::scoped_lock guard(mutex_); }

 private:
  void set(Held& held, std::size_t i, bool exclusive, bool on) {
    bool& mine = exclusive ? held.exclusive[i] : held.shared[i];
    if (mine == on) return;
    mine = on;
    if (exclusive)
      writer_[i] = on;
    else
      readers_[i] += on ? 1 : -1;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> regions_;
  std::array<int, SQLITE_SHM_NLOCK> readers_{};
  std::array<bool, SQLITE_SHM_NLOCK> writer_{};
};

/// One for each file that is open.
struct SharedFile {
  FileLocks locks;
  std::mutex index_mutex;
  std::weak_ptr<WalIndex> index;  // lives as long as some connection maps it

  std::shared_ptr<WalIndex> map_index() {
    const std::scoped_lock guard(index_mutex);
    std::shared_ptr<WalIndex> shared = index.lock();
    if (!shared) index = shared = std::make_shared<WalIndex>();
    return shared;
  }
};

}  // namespace aura::sqlite::detail
