// What breakers of other processes say of the same dependency.
#pragma once

#include <aura/operational/breaker/state.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace aura {

/// The latest evidence of up to 32 peers, each for a while: the one that spoke least recently makes room. Not shared
/// between threads: its owner serialises it.
class BreakerPeers {
 public:
  static constexpr std::size_t peers_max = 32;

  explicit BreakerPeers(Duration keeps_for) noexcept : keeps_for_(keeps_for) {}

  /// What is older than what the peer said before, by its epoch, is not heard; nor is evidence outside [0, 1].
  void absorb(std::uint64_t peer, const BreakerEvidence& said, SteadyTime now) noexcept {
    if (!(said.evidence >= 0 && said.evidence <= 1)) return;
    Entry& entry = entry_of(peer);
    if (entry.peer == peer && entry.used && said.epoch < entry.epoch && now < entry.until) return;
    entry = {peer, said.epoch, saturating_add(now, keeps_for_), said.evidence, true};
  }

  /// A pseudo-count as a share of what opens: an eighth for each peer that is sure, capped.
  double evidence(SteadyTime now, double cap) const noexcept {
    double sum = 0;
    for (const Entry& entry : entries_)
      if (entry.used && now < entry.until) sum += entry.evidence / 8;
    return std::min(sum, cap);
  }

 private:
  struct Entry {
    std::uint64_t peer = 0, epoch = 0;
    SteadyTime until{};
    double evidence = 0;
    bool used = false;
  };

  Entry& entry_of(std::uint64_t peer) noexcept {
    for (Entry& entry : entries_)
      if (entry.used && entry.peer == peer) return entry;
    return *std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return a.used != b.used ? !a.used : a.until < b.until;
    });
  }

  Duration keeps_for_;
  std::array<Entry, peers_max> entries_{};
};

}  // namespace aura
