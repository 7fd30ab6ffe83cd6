// What to do when a step before the pivot has failed for good: go back, try on, or ask a person.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/time.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

namespace aura {

/// All that is known when a step has failed and its own retry policy has given up.
struct FailureContext {
  std::string_view saga, run, step;
  const Error& error;
  std::uint32_t attempts = 0;       ///< of this step
  std::uint32_t interruptions = 0;  ///< how often its process died while it ran
  Duration age{};                   ///< of the run
  std::uint64_t steps_done = 0;     ///< bit i for step i of the definition
};

enum class FailureChoice : std::uint8_t {
  compensate,  ///< undo what took effect
  retry,       ///< attempt the step again after a delay
  hold,        ///< wait for an operator, visibly, with a dead letter
};

struct FailureDecision {
  FailureChoice choice = FailureChoice::compensate;
  Duration delay{};  ///< before a retry
};

/// May be called from several threads, for different runs. One that throws compensates.
template <class P>
concept compensation_policy = requires(P& policy, const FailureContext& failure) {
  { policy.choose(failure) } -> std::convertible_to<FailureDecision>;
};

/// The default: always undo.
struct AlwaysCompensate {
  FailureDecision choose(const FailureContext&) const noexcept { return {}; }
};

/// Any policy. Copies share it.
class AnyCompensationPolicy {
 public:
  AnyCompensationPolicy() = default;
  template <class P>
    requires(!std::same_as<P, AnyCompensationPolicy>) && compensation_policy<P>
  explicit AnyCompensationPolicy(P policy)
      : choose_([policy = std::move(policy)](const FailureContext& failure) mutable -> FailureDecision {
          return policy.choose(failure);
        }) {}

  FailureDecision choose(const FailureContext& failure) const noexcept try {
    return choose_ ? choose_(failure) : FailureDecision{};
  } catch (...) {
    return FailureDecision{};
  }

 private:
  std::function<FailureDecision(const FailureContext&)> choose_;
};

}  // namespace aura
