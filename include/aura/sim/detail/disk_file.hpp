// One simulated file: what a reader sees now, what is durable, and the changes between the two.
#pragma once

#include <aura/core/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace aura::sim {

/// What a power loss leaves of changes that were not synced.
enum class Survival : std::uint8_t {
  seeded,  ///< each file is dealt one of: nothing, everything, a prefix with a torn end, any mix of its sectors
  nothing,
  everything,  ///< as when only the process died, and the operating system lived on
};

/// How a device fails in the middle of a write.
struct DiskGeometry {
  std::size_t sector_bytes = 512;
  bool atomic_sectors = true;  ///< else a sector may hold the beginning or the end of what was written to it
  bool powersafe_overwrite = true;  ///< else an interrupted write may scramble its whole sector, neighbours included
};

namespace detail {

class DiskFile {
 public:
  const std::string& bytes() const noexcept { return current_; }
  bool synced() const noexcept { return pending_.empty(); }

  void write(std::uint64_t offset, std::string_view bytes) { change({offset, std::string(bytes), false}); }
  void truncate(std::uint64_t size) { change({size, {}, true}); }

  void sync() {
    for (const Change& done : pending_) apply(done, durable_);
    pending_.clear();
  }

  /// A sync that failed as Linux lets it fail: what did not get through stays readable and is never written again.
  void fail_sync(Random& dice, const DiskGeometry& geometry) {
    durable_ = survivor(dice, geometry);
    pending_.clear();
  }

  void lose_power(Survival survival, Random& dice, const DiskGeometry& geometry) {
    if (survival == Survival::everything)
      durable_ = current_;
    else if (survival == Survival::seeded)
      durable_ = survivor(dice, geometry);
    pending_.clear();
    current_ = durable_;
  }

  /// Past every rule: what is on the platter is now this.
  void replace(std::string bytes) {
    current_ = durable_ = std::move(bytes);
    pending_.clear();
  }

 private:
  struct Change {
    std::uint64_t offset;  // or the new size
    std::string bytes;
    bool truncates;

    std::uint64_t end() const noexcept { return offset + bytes.size(); }
    std::uint64_t size_after(std::uint64_t size) const noexcept { return truncates ? offset : std::max(size, end()); }
  };

  void change(Change made) {
    apply(made, current_);
    pending_.push_back(std::move(made));
  }

  static void apply(const Change& made, std::string& image) {
    image.resize(static_cast<std::size_t>(made.size_after(image.size())), '\0');
    std::copy(made.bytes.begin(), made.bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(made.offset));
  }

  std::string survivor(Random& dice, const DiskGeometry& geometry) const;
  void keep_sectors(std::string& image, const Change& made, std::size_t index, Random& dice,
                    const DiskGeometry& geometry, const std::unordered_map<std::uint64_t, std::size_t>& cuts) const;

  std::string current_;
  std::string durable_;
  std::vector<Change> pending_;
};

/// A sector of a device holds some version it has had since the last sync, never an older one over a newer one. The
/// versions of different sectors, and the file's size, survive independently: that is loss, tearing and reordering.
inline std::string DiskFile::survivor(Random& dice, const DiskGeometry& geometry) const {
  enum : std::uint64_t { nothing, everything, prefix, mixture, modes };
  const std::uint64_t mode = dice.below(modes);
  if (pending_.empty() || mode == nothing) return durable_;

  std::uint64_t size = durable_.size(), size_seen_max = size;
  const auto cut_of_all =
      static_cast<std::size_t>(mode == everything ? pending_.size() : dice.below(pending_.size() + 1));
  const std::size_t size_cut = cut_of_all + (mode == prefix && dice.chance(0.5) ? 1 : 0);
  std::unordered_map<std::uint64_t, std::size_t> cuts;  // for each sector, the first change that did not reach it
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const Change& made = pending_[i];
    if (i < size_cut) size = made.size_after(size);
    size_seen_max = std::max({size_seen_max, size, made.end()});
    if (made.truncates) continue;
    for (std::uint64_t s = made.offset / geometry.sector_bytes; s * geometry.sector_bytes < made.end(); ++s) {
      if (mode == mixture) {
        cuts.try_emplace(s, static_cast<std::size_t>(dice.below(pending_.size() + 1)));
      } else {
        std::size_t cut = cut_of_all;
        if (mode == prefix && i == cut_of_all && dice.chance(0.5)) ++cut;  // the torn end
        std::size_t& kept = cuts.try_emplace(s, cut).first->second;
        kept = std::max(kept, cut);
      }
    }
  }

  std::string image = durable_;
  image.resize(static_cast<std::size_t>(size_seen_max), '\0');
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const Change& made = pending_[i];
    if (!made.truncates)
      keep_sectors(image, made, i, dice, geometry, cuts);
    else if (i < size_cut && made.offset < image.size())
      std::fill(image.begin() + static_cast<std::ptrdiff_t>(made.offset), image.end(), '\0');
  }
  image.resize(static_cast<std::size_t>(size));
  return image;
}

inline void DiskFile::keep_sectors(std::string& image, const Change& made, std::size_t index, Random& dice,
                                   const DiskGeometry& geometry,
                                   const std::unordered_map<std::uint64_t, std::size_t>& cuts) const {
  const std::uint64_t sector_bytes = geometry.sector_bytes;
  for (std::uint64_t s = made.offset / sector_bytes; s * sector_bytes < made.end(); ++s) {
    std::uint64_t from = std::max(made.offset, s * sector_bytes);
    std::uint64_t to = std::min(made.end(), (s + 1) * sector_bytes);
    const std::size_t cut = cuts.at(s);
    if (index > cut) continue;
    if (index == cut) {  // power went while this one was on its way
      if (!geometry.powersafe_overwrite && dice.chance(0.25)) {
        const std::uint64_t end = std::min<std::uint64_t>((s + 1) * sector_bytes, image.size());
        for (std::uint64_t i = s * sector_bytes; i < end; ++i)
          image[static_cast<std::size_t>(i)] = static_cast<char>(dice());
        continue;
      }
      if (geometry.atomic_sectors) continue;
      const std::uint64_t torn = from + dice.below(to - from + 1);
      (dice.chance(0.5) ? from : to) = torn;
    }
    std::copy_n(made.bytes.begin() + static_cast<std::ptrdiff_t>(from - made.offset), to - from,
                image.begin() + static_cast<std::ptrdiff_t>(from));
  }
}

}  // namespace detail
}  // namespace aura::sim
