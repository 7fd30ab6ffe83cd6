// The facts a saga's history is made of. A record holds those that one decision made, in order.
#pragma once

#include <aura/core/detail/boxed.hpp>
#include <aura/core/error.hpp>
#include <aura/core/outcome.hpp>
#include <aura/core/time.hpp>

#include <boost/container/small_vector.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aura {

/// On disk: never renumber.
enum class SagaEventType : std::uint8_t {
  started = 1,            ///< bytes: the input; birth: which definition
  attempt_started = 2,    ///< step, attempt
  attempt_succeeded = 3,  ///< step, attempt; bytes: the result
  attempt_failed = 4,     ///< step, attempt, error, verdict; wake_at for a retry
  interrupted = 5,        ///< step, attempt: its process died while it ran
  cancel_requested = 6,   ///< bytes: the reason
  expired = 7,            ///< the run's deadline passed before its pivot was done
  compensation_began = 8, ///< nothing is in flight any more; from here attempts undo
  went_forward = 9,       ///< the pivot was done before the run could go back
  retry_asked = 10,       ///< step, bytes: the operator's reason
  skipped = 11,           ///< step, bytes: the operator's reason
  supplied = 12,          ///< step, bytes: the result that the operator supplied
  ended = 13,             ///< outcome
};

/// What became of a step whose attempt failed.
enum class FailureVerdict : std::uint8_t {
  retry = 1,   ///< another attempt at `wake_at`
  stuck = 2,   ///< an operator must resolve it
  go_back = 3, ///< the run goes back because of it
  settled = 4, ///< the run was going back already
};

/// Which definition a run was begun by.
struct SagaBirth {
  std::string saga;
  std::uint32_t version = 0;
  std::uint64_t fingerprint = 0;
  std::optional<WallTime> deadline{};
  std::vector<std::string> steps{};  ///< names, so that a history can be read without its definition

  friend bool operator==(const SagaBirth&, const SagaBirth&) = default;
};

struct SagaEvent {
  SagaEventType type{};
  std::uint8_t step = 0;
  std::uint32_t attempt = 0;
  FailureVerdict verdict{};
  RunOutcome outcome{};
  WallTime wake_at{};
  std::string bytes{};
  detail::Boxed<Error> error{};
  detail::Boxed<SagaBirth> birth{};

  friend bool operator==(const SagaEvent&, const SagaEvent&) = default;
};

using SagaEvents = boost::container::small_vector<SagaEvent, 2>;

constexpr std::string_view to_string(SagaEventType type) noexcept {
  switch (type) {
    case SagaEventType::started: return "started";
    case SagaEventType::attempt_started: return "attempt_started";
    case SagaEventType::attempt_succeeded: return "attempt_succeeded";
    case SagaEventType::attempt_failed: return "attempt_failed";
    case SagaEventType::interrupted: return "interrupted";
    case SagaEventType::cancel_requested: return "cancel_requested";
    case SagaEventType::expired: return "expired";
    case SagaEventType::compensation_began: return "compensation_began";
    case SagaEventType::went_forward: return "went_forward";
    case SagaEventType::retry_asked: return "retry_asked";
    case SagaEventType::skipped: return "skipped";
    case SagaEventType::supplied: return "supplied";
    case SagaEventType::ended: return "ended";
  }
  return "unknown";
}

constexpr std::string_view to_string(FailureVerdict verdict) noexcept {
  switch (verdict) {
    case FailureVerdict::retry: return "retry";
    case FailureVerdict::stuck: return "stuck";
    case FailureVerdict::go_back: return "go_back";
    case FailureVerdict::settled: return "settled";
  }
  return "unknown";
}

}  // namespace aura
