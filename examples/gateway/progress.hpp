// Who is told how far it has come: a terminal gets a bar, a log file a line now and then.
#pragma once

#include "trace.hpp"

#include <aura/durable/saga_options.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <unistd.h>

namespace gateway {

/// What a runner tells of its runs, counted. Shared between threads.
struct Meter {
  std::atomic<std::uint64_t> started{0}, ended{0}, attempts{0}, lost{0};
  std::atomic<std::uint64_t> starting{0};          ///< asked for, and not durable yet
  std::atomic<std::uint32_t> commits_delayed{0};  ///< in a row

  void trouble(const aura::Error& error) {
    const std::lock_guard lock(mutex_);
    last_error_ = to_string(error);
  }
  std::string last_error() const {
    const std::lock_guard lock(mutex_);
    return last_error_;
  }

 private:
  mutable std::mutex mutex_;
  std::string last_error_;
};

/// The observer of the runner: an overload for each event that matters here, and the others cost nothing.
struct MeterObserver {
  Meter* meter;

  void operator()(const aura::RunStarted&) const {
    ++meter->started;
    meter->commits_delayed = 0;
  }
  void operator()(const aura::RunEnded&) const {
    ++meter->ended;
    meter->commits_delayed = 0;
  }
  void operator()(const aura::AttemptEnded&) const { ++meter->attempts; }
  void operator()(const aura::CommitDelayed& delayed) const {
    ++meter->commits_delayed;
    meter->trouble(delayed.error);
  }
  void operator()(const aura::RunLost& lost) const {
    ++meter->lost;
    meter->trouble(lost.error);
  }
};

class Progress {
 public:
  Progress(bool quiet, std::size_t total) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1), total_(total) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `arrived` of all requests have been taken in when the trace's clock stands at `now`.
  void show(aura::WallTime now, std::size_t arrived, std::size_t open) {
    if (quiet_) return;
    terminal_ ? draw(now, arrived, open) : write_line(now, arrived, open);
  }

  void clear() {
    if (drawn_) fmt::print(stderr, "\r\x1b[K");
    drawn_ = false;
  }

 private:
  std::string figures(aura::WallTime now, std::size_t arrived, std::size_t open) const {
    return fmt::format("{}  {} of {} requests, {} open", clock_text(now), arrived, total_, open);
  }

  void draw(aura::WallTime now, std::size_t arrived, std::size_t open) {
    const auto moment = std::chrono::steady_clock::now();
    if (drawn_ && moment - last_ < std::chrono::milliseconds(100)) return;
    last_ = moment;
    drawn_ = true;
    constexpr std::size_t width = 32;
    const std::size_t full = std::min(width, arrived * width / std::max<std::size_t>(total_, 1));
    fmt::print(stderr, "\r\x1b[K[{}{}] {}", std::string(full, '#'), std::string(width - full, '.'),
               figures(now, arrived, open));
    std::fflush(stderr);
  }

  void write_line(aura::WallTime now, std::size_t arrived, std::size_t open) {
    const std::size_t tenth = arrived * 10 / std::max<std::size_t>(total_, 1);
    if (tenth == tenth_) return;
    tenth_ = tenth;
    fmt::print(stderr, "{:3} %  {}\n", tenth * 10, figures(now, arrived, open));
  }

  const bool quiet_, terminal_;
  const std::size_t total_;
  bool drawn_ = false;
  std::size_t tenth_ = 0;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace gateway
