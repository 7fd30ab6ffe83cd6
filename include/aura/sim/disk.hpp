// A disk that loses power, tears writes, fills up and fails, at points a test chooses or a seed does.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/sim/detail/disk_file.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace aura::sim {

/// Codes of the domain "sim.disk".
enum class disk_errc : std::int32_t {
  io = 1,        ///< an injected failure (transient)
  full = 2,      ///< no room (transient)
  no_power = 3,  ///< power is off, or went during this operation (transient): its effect is unknown
  no_file = 4,   ///< there is no file of that name (permanent)
  stale = 5,     ///< the handle was closed, or is from before the last power loss (permanent)
};
constexpr std::string_view error_domain(disk_errc) noexcept { return "sim.disk"; }

enum class DiskVerb : std::uint8_t { create, remove, write, truncate, sync, sync_directory, read };

/// What is about to happen.
struct DiskOperation {
  /// Counts from 1, in `operations()`. Reads change nothing, so they do not count and carry the number of the next.
  std::uint64_t number = 0;
  DiskVerb verb{};
  std::string_view file;  ///< empty for sync_directory
  std::uint64_t offset = 0;
  std::size_t size = 0;
};

enum class DiskFault : std::uint8_t {
  none,
  io,  ///< fails; a write may have written a part, a sync may have lost what it was to save
  full,  ///< as if there were no room
  power_loss,  ///< power goes during it: it may take effect, wholly or in part; nothing works until `restart`
};

struct DiskOptions {
  std::uint64_t bytes_max = std::uint64_t{1} << 30;  ///< all files together
  DiskGeometry geometry{};
};

/// Files in memory, in one directory, with the durability that POSIX promises and not a bit more: a change of a file
/// is durable once `sync` of that file succeeded, and that a name exists or is gone once `sync_directory` did. (ext4
/// in its default mode is kinder.) Until then a power loss may keep any part of it; `Survival` and `DiskGeometry` say
/// how. After a sync that failed, what did not get through stays readable until the power loss, as on Linux, and no
/// later sync saves it.
///
///     aura::sim::Disk disk(world.random("disk"));
///     disk.inject(disk.operations() + 7, aura::sim::DiskFault::power_loss);
///     … work until it fails …
///     disk.restart();
///     … is everything there that was promised? …
///
/// Not thread-safe. Costs memory for what is stored twice and for unsynced changes once more.
class Disk {
 public:
  /// An open file. Handles of before a power loss are refused after it.
  enum class File : std::uint64_t {};
  using Options = DiskOptions;
  using Hook = std::function<DiskFault(const DiskOperation&)>;

  explicit Disk(Random dice = Random(1), const Options& options = {}) : dice_(dice), options_(options) {}
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // Files.

  Result<bool> exists(std::string_view name) const;
  /// Errors: no_file where it is not there and shall not be created.
  Result<File> open(std::string_view name, bool create);
  void close(File file) { open_.erase(file); }
  Result<std::uint64_t> size(File file) const;
  /// How much was read: less than asked for at the end of the file.
  Result<std::size_t> read(File file, std::uint64_t offset, std::span<char> into);
  /// A write beyond the end fills the gap with zeros. Where there is not enough room, what fits is written.
  Result<void> write(File file, std::uint64_t offset, std::string_view bytes);
  Result<void> truncate(File file, std::uint64_t size);
  Result<void> sync(File file);
  /// The name goes; handles to the file stay good.
  Result<void> remove(std::string_view name);
  Result<void> sync_directory();

  static bool is_full(const Error& error) noexcept { return error.is(disk_errc::full); }
  std::size_t sector_bytes() const noexcept { return options_.geometry.sector_bytes; }
  bool powersafe_overwrite() const noexcept { return options_.geometry.powersafe_overwrite; }

  // Faults.

  /// How many operations there were that change something or sync. A test that crashes at each number from 1 to what
  /// a run without faults counted has crashed everywhere.
  std::uint64_t operations() const noexcept { return operations_; }
  /// At that operation, and only then. An earlier one is forgotten.
  void inject(std::uint64_t operation, DiskFault fault) { injected_ = {operation, fault}; }
  /// Asked before every operation, reads too: for seeded faults, for a log, and for latency by `Runtime::advance`.
  void on_operation(Hook hook) { hook_ = std::move(hook); }
  /// Room may shrink below what is used, and come back.
  void set_bytes_max(std::uint64_t bytes) noexcept { options_.bytes_max = bytes; }
  std::uint64_t bytes_used() const noexcept;

  /// From now on every operation fails with no_power.
  void lose_power() noexcept { powered_ = false; }
  bool powered() const noexcept { return powered_; }
  /// After a power loss (it loses power first where it has any): what survived is there, every handle is stale.
  void restart(Survival survival = Survival::seeded);
  /// Counts restarts.
  std::uint64_t incarnation() const noexcept { return incarnation_; }

  // Past all rules, for a test to look and to damage. An unknown name is an empty file.

  std::string bytes(std::string_view name) const;
  /// Durable at once.
  void replace(std::string_view name, std::string bytes);

 private:
  using Image = std::shared_ptr<detail::DiskFile>;
  using Names = std::map<std::string, Image, std::less<>>;
  struct Open {
    std::string name;
    Image image;
  };
  struct NameChange {
    std::string name;
    Image image;  // null: removed
  };

  DiskFault next_fault(DiskVerb verb, std::string_view name, std::uint64_t offset = 0, std::size_t size = 0);
  Result<void> outcome(DiskFault fault, DiskVerb verb, std::string_view name);
  Result<const Open*> find(File file) const;
  std::uint64_t size_max(const detail::DiskFile& image) const noexcept;
  void change_name(std::string_view name, Image image);
  static void apply(const NameChange& change, Names& names);
  Names surviving_names(Survival survival);
  static Error no_power() noexcept {
    return Error::fixed(disk_errc::no_power, ErrorClass::transient, "the disk has no power");
  }

  Random dice_;
  Options options_;
  Names names_;
  Names durable_names_;
  std::vector<NameChange> name_changes_;  // not yet durable
  std::unordered_map<File, Open> open_;
  std::uint64_t handles_ = 0;
  std::uint64_t operations_ = 0;
  std::uint64_t incarnation_ = 1;
  std::pair<std::uint64_t, DiskFault> injected_{0, DiskFault::none};
  Hook hook_;
  bool powered_ = true;
};

constexpr std::string_view to_string(DiskVerb verb) noexcept {
  constexpr std::string_view names[] = {"create", "remove", "write", "truncate", "sync", "sync_directory", "read"};
  return names[static_cast<std::size_t>(verb)];
}

inline DiskFault Disk::next_fault(DiskVerb verb, std::string_view name, std::uint64_t offset, std::size_t size) {
  const std::uint64_t number = operations_ + 1;
  if (verb != DiskVerb::read) operations_ = number;
  DiskFault fault = hook_ ? hook_({number, verb, name, offset, size}) : DiskFault::none;
  if (verb != DiskVerb::read && number == injected_.first && fault == DiskFault::none) fault = injected_.second;
  return fault;
}

/// What the caller is told; power goes here.
inline Result<void> Disk::outcome(DiskFault fault, DiskVerb verb, std::string_view name) {
  const auto failed = [&](disk_errc code, std::string_view why) {
    return Error{code, ErrorClass::transient,
                 std::string(to_string(verb)).append(" ").append(name).append(": ").append(why)};
  };
  switch (fault) {
    case DiskFault::none: return {};
    case DiskFault::io: return failed(disk_errc::io, "input/output error");
    case DiskFault::full: return failed(disk_errc::full, "no room on the disk");
    case DiskFault::power_loss: lose_power(); return no_power();
  }
  return {};
}

inline Result<const Disk::Open*> Disk::find(File file) const {
  if (!powered_) return no_power();
  const auto found = open_.find(file);
  if (found == open_.end())
    return Error::fixed(disk_errc::stale, ErrorClass::permanent, "a handle that is closed, or from before a restart");
  return &found->second;
}

/// How large a file may be with what room there is.
inline std::uint64_t Disk::size_max(const detail::DiskFile& image) const noexcept {
  const std::uint64_t used = bytes_used(), size = image.bytes().size();
  return size + (used < options_.bytes_max ? options_.bytes_max - used : 0);
}

inline std::uint64_t Disk::bytes_used() const noexcept {
  std::uint64_t used = 0;
  for (const auto& [name, image] : names_) used += image->bytes().size();
  return used;
}

inline Result<bool> Disk::exists(std::string_view name) const {
  if (!powered_) return no_power();
  return names_.contains(name);
}

inline Result<Disk::File> Disk::open(std::string_view name, bool create) {
  if (!powered_) return no_power();
  if (!names_.contains(name)) {
    if (!create)
      return Error{disk_errc::no_file, ErrorClass::permanent, "no file named \"" + std::string(name) + "\""};
    const DiskFault fault = next_fault(DiskVerb::create, name);
    if (fault == DiskFault::none || fault == DiskFault::power_loss)
      change_name(name, std::make_shared<detail::DiskFile>());
    if (Result<void> done = outcome(fault, DiskVerb::create, name); !done) return done.error();
  }
  const File file{++handles_};
  open_.emplace(file, Open{std::string(name), names_.find(name)->second});
  return file;
}

inline Result<std::uint64_t> Disk::size(File file) const {
  const Result<const Open*> open = find(file);
  if (!open) return open.error();
  return std::uint64_t{(*open)->image->bytes().size()};
}

inline Result<std::size_t> Disk::read(File file, std::uint64_t offset, std::span<char> into) {
  const Result<const Open*> open = find(file);
  if (!open) return open.error();
  const DiskFault fault = next_fault(DiskVerb::read, (*open)->name, offset, into.size());
  if (Result<void> done = outcome(fault, DiskVerb::read, (*open)->name); !done) return done.error();
  const std::string& bytes = (*open)->image->bytes();
  if (offset >= bytes.size()) return std::size_t{0};
  return bytes.copy(into.data(), into.size(), static_cast<std::size_t>(offset));
}

inline Result<void> Disk::write(File file, std::uint64_t offset, std::string_view bytes) {
  const Result<const Open*> open = find(file);
  if (!open) return open.error();
  DiskFault fault = next_fault(DiskVerb::write, (*open)->name, offset, bytes.size());
  if (fault == DiskFault::io || fault == DiskFault::full)
    bytes = bytes.substr(0, static_cast<std::size_t>(dice_.below(bytes.size() + 1)));
  const std::uint64_t end_max = size_max(*(*open)->image);
  const std::uint64_t room = offset < end_max ? end_max - offset : 0;
  if (bytes.size() > room) {
    bytes = bytes.substr(0, static_cast<std::size_t>(room));
    if (fault == DiskFault::none) fault = DiskFault::full;
  }
  if (!bytes.empty()) (*open)->image->write(offset, bytes);
  return outcome(fault, DiskVerb::write, (*open)->name);
}

inline Result<void> Disk::truncate(File file, std::uint64_t size) {
  const Result<const Open*> open = find(file);
  if (!open) return open.error();
  DiskFault fault = next_fault(DiskVerb::truncate, (*open)->name, size);
  if (fault == DiskFault::none && size > size_max(*(*open)->image)) fault = DiskFault::full;
  if (fault == DiskFault::none || fault == DiskFault::power_loss) (*open)->image->truncate(size);
  return outcome(fault, DiskVerb::truncate, (*open)->name);
}

inline Result<void> Disk::sync(File file) {
  const Result<const Open*> open = find(file);
  if (!open) return open.error();
  const DiskFault fault = next_fault(DiskVerb::sync, (*open)->name);
  if (fault == DiskFault::none) (*open)->image->sync();
  if (fault == DiskFault::io || fault == DiskFault::full) (*open)->image->fail_sync(dice_, options_.geometry);
  return outcome(fault, DiskVerb::sync, (*open)->name);
}

inline Result<void> Disk::remove(std::string_view name) {
  if (!powered_) return no_power();
  if (!names_.contains(name))
    return Error{disk_errc::no_file, ErrorClass::permanent, "no file named \"" + std::string(name) + "\""};
  const DiskFault fault = next_fault(DiskVerb::remove, name);
  if (fault == DiskFault::none || fault == DiskFault::power_loss) change_name(name, nullptr);
  return outcome(fault, DiskVerb::remove, name);
}

inline Result<void> Disk::sync_directory() {
  if (!powered_) return no_power();
  const DiskFault fault = next_fault(DiskVerb::sync_directory, {});
  if (fault == DiskFault::none) {
    durable_names_ = names_;
    name_changes_.clear();
  }
  return outcome(fault, DiskVerb::sync_directory, {});
}

inline void Disk::change_name(std::string_view name, Image image) {
  name_changes_.push_back({std::string(name), std::move(image)});
  apply(name_changes_.back(), names_);
}

inline void Disk::apply(const NameChange& change, Names& names) {
  if (change.image)
    names[change.name] = change.image;
  else
    names.erase(change.name);
}

/// What happened to one name survives up to some point, independently of the other names.
inline Disk::Names Disk::surviving_names(Survival survival) {
  enum : std::uint64_t { nothing, everything, prefix, mixture, modes };
  std::uint64_t mode = survival == Survival::nothing ? nothing : everything;
  if (survival == Survival::seeded) mode = dice_.below(modes);
  if (mode == everything) return names_;

  Names names = durable_names_;
  if (mode == nothing) return names;
  const std::uint64_t cut_of_all = dice_.below(name_changes_.size() + 1);
  std::map<std::string_view, std::uint64_t> cuts;
  for (std::size_t i = 0; i < name_changes_.size(); ++i) {
    const std::uint64_t cut = mode == prefix ? cut_of_all : dice_.below(name_changes_.size() + 1);
    if (i < cuts.try_emplace(name_changes_[i].name, cut).first->second) apply(name_changes_[i], names);
  }
  return names;
}

inline void Disk::restart(Survival survival) {
  names_ = surviving_names(survival);
  for (const auto& [name, image] : names_) image->lose_power(survival, dice_, options_.geometry);
  durable_names_ = names_;
  name_changes_.clear();
  open_.clear();
  ++incarnation_;
  powered_ = true;
}

inline std::string Disk::bytes(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? std::string() : found->second->bytes();
}

inline void Disk::replace(std::string_view name, std::string bytes) {
  if (!names_.contains(name)) change_name(name, std::make_shared<detail::DiskFile>());
  const Image image = names_.find(name)->second;
  image->replace(std::move(bytes));
  std::erase_if(name_changes_, [name](const NameChange& change) { return change.name == name; });
  durable_names_[std::string(name)] = image;
}

}  // namespace aura::sim
