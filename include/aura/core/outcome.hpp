// How one attempt ended, how a run ended, how good it turned out to be.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/time.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aura {

/// How one attempt of one step ended: told to everyone who placed or guarded it.
struct AttemptOutcome {
  std::optional<ErrorClass> failure{};  ///< none: it succeeded
  Duration latency{};
  double cost = 0;  ///< in the host's own unit

  bool ok() const noexcept { return !failure; }
};

/// How a run ended.
enum class RunOutcome : std::uint8_t {
  completed = 1,    ///< every step is done
  compensated = 2,  ///< it failed or was cancelled, and everything that took effect was undone
  failed = 3,       ///< it failed before anything took effect, so there was nothing to undo
};

constexpr std::string_view to_string(RunOutcome outcome) noexcept {
  switch (outcome) {
    case RunOutcome::completed: return "completed";
    case RunOutcome::compensated: return "compensated";
    case RunOutcome::failed: return "failed";
  }
  return "unknown";
}

/// How good a run turned out to be, perhaps days later.
struct Reward {
  std::string run;
  double value = 0;  ///< larger is better; the host's own unit
  WallTime at{};
};

}  // namespace aura
