// The directory that a gateway keeps its state in, and the lock that keeps a second one out.
#pragma once

#include "ledger.hpp"
#include "options.hpp"

#include <aura/core/result.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

namespace gateway {

enum class state_errc : std::int32_t { unusable = 1, in_use = 2, other_settings = 3 };
constexpr std::string_view error_domain(state_errc) noexcept { return "gateway state"; }

/// Holds the lock for its life: the kernel gives it back when the process ends, however it ends.
class StateDirectory {
 public:
  static aura::Result<StateDirectory> open(const std::filesystem::path& path) {
    std::error_code fault;
    std::filesystem::create_directories(path, fault);
    if (fault) return unusable(path, fault.message());
    StateDirectory directory(path, ::open((path / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (directory.lock_ < 0) return unusable(path, std::strerror(errno));
    if (::flock(directory.lock_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return unusable(path, std::strerror(errno));
      return aura::Error{state_errc::in_use, aura::ErrorClass::rejected,
                         fmt::format("another gateway ({}) runs on {}; wait for it, or give another --state",
                                     directory.owner(), path.string())};
    }
    directory.sign();
    if (std::filesystem::exists(path / "erasing")) return directory.erased();
    return directory;
  }

  StateDirectory(StateDirectory&& other) noexcept
      : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}
  StateDirectory& operator=(StateDirectory&&) = delete;
  ~StateDirectory() {
    if (lock_ >= 0) ::close(lock_);
  }

  std::string journal() const { return (path_ / "journal.db").string(); }
  std::string ledger() const { return (path_ / "ledger.db").string(); }
  const std::filesystem::path& path() const noexcept { return path_; }

  /// Forgets everything. What is killed in the middle is finished by the next `open`.
  aura::Result<void> erase() const {
    std::error_code fault;
    std::ofstream(path_ / "erasing").flush();
    if (!std::filesystem::exists(path_ / "erasing")) return unusable(path_, "it cannot be written");
    for (const char* file : {"journal.db", "ledger.db"})
      for (const char* part : {"-wal", "-shm", ""})
        if (std::filesystem::remove(path_ / (std::string(file) + part), fault); fault)
          return unusable(path_, fault.message());
    if (std::filesystem::remove(path_ / "erasing", fault); fault) return unusable(path_, fault.message());
    return {};
  }

 private:
  StateDirectory(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}

  static aura::Error unusable(const std::filesystem::path& path, const std::string& why) {
    return {state_errc::unusable, aura::ErrorClass::permanent, fmt::format("{}: {}", path.string(), why)};
  }

  std::string owner() const {
    char text[32] = {};
    const ssize_t size = ::pread(lock_, text, sizeof text - 1, 0);
    return size > 0 ? fmt::format("process {}", std::string_view(text, static_cast<std::size_t>(size))) : "unknown";
  }
  void sign() const {
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(lock_, 0) == 0) (void)!::pwrite(lock_, pid.data(), pid.size(), 0);
  }
  aura::Result<StateDirectory> erased() {
    if (auto done = erase(); !done) return done.error();
    return std::move(*this);
  }

  std::filesystem::path path_;
  int lock_;
};

/// What a state was begun with and must be gone on with.
inline std::string settings_text(const Options& options, std::size_t requests, std::uint64_t trace) {
  return fmt::format("{} requests of trace {:016x}, --seed {}, --faults {}, --load {}, --solver {}, {}", requests,
                     trace, options.seed, options.faults.name, options.load, options.solver.name,
                     options.real_time ? fmt::format("--real-time --speed {}", options.speed) : "virtual time");
}

/// Writes them down the first time, compares them later.
inline aura::Result<void> settle_settings(Ledger& ledger, const StateDirectory& state, const std::string& now) {
  const auto begun = ledger.setting("settings");
  if (!begun) return begun.error();
  if (begun->empty()) return ledger.set("settings", now);
  if (*begun == now) return {};
  return aura::Error{state_errc::other_settings, aura::ErrorClass::permanent,
                     fmt::format("{} was begun with {}\nand cannot go on with {}:\n"
                                 "give the same options, another --state, or --fresh to forget it",
                                 state.path().string(), *begun, now)};
}

}  // namespace gateway
