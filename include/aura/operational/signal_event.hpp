// Why a signal was refused or dropped, as a word, as an error, and as an event.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace aura {

/// Why a signal was not accepted. Nothing happened to it: its sender still has it.
enum class SignalRefusal : std::uint8_t {
  unknown_class = 1,  ///< its class index is none of the router's
  draining = 2,       ///< the router takes no more
  duplicate = 3,      ///< one with its id is in the window
  late = 4,           ///< its deadline has passed
  full = 5,           ///< its class is at its bound
  infeasible = 6,     ///< what is ahead of it leaves no time for it
};
inline constexpr std::size_t signal_refusals = 7;

/// Why an accepted signal was not handled.
enum class SignalDrop : std::uint8_t {
  late = 8,     ///< it reached the head of its class after its deadline
  codel = 9,    ///< the class had a standing queue
  drained = 10, ///< it was still waiting when a drain's deadline came, or when the router was destroyed
};
inline constexpr std::size_t signal_drops = 3;
constexpr std::size_t index_of(SignalDrop reason) noexcept { return static_cast<std::size_t>(reason) - 8; }

constexpr std::string_view to_string(SignalRefusal reason) noexcept {
  switch (reason) {
    case SignalRefusal::unknown_class: return "the signal's class is unknown";
    case SignalRefusal::draining: return "the router is draining";
    case SignalRefusal::duplicate: return "a signal with this id was accepted before";
    case SignalRefusal::late: return "the signal's deadline has passed";
    case SignalRefusal::full: return "the signal's class is full";
    case SignalRefusal::infeasible: return "the work ahead leaves no time before the signal's deadline";
  }
  return "unknown";
}

constexpr std::string_view to_string(SignalDrop reason) noexcept {
  switch (reason) {
    case SignalDrop::late: return "the signal's deadline passed while it waited";
    case SignalDrop::codel: return "the signal's class had a standing queue";
    case SignalDrop::drained: return "the router stopped before the signal's turn";
  }
  return "unknown";
}

constexpr std::string_view error_domain(SignalRefusal) noexcept { return "signal"; }
constexpr std::string_view error_domain(SignalDrop) noexcept { return "signal"; }

/// What the core says of a signal that it was offered.
struct SignalVerdict {
  std::optional<SignalRefusal> refused{};
  Duration retry_after{};  ///< when another try may be worth it; zero where that is not known, or never

  explicit operator bool() const noexcept { return !refused; }
};

/// Allocate nothing.
inline Error error_of(SignalRefusal reason, Duration retry_after = {}) noexcept {
  const bool for_good = reason == SignalRefusal::unknown_class || reason == SignalRefusal::duplicate;
  return Error::fixed(reason, for_good ? ErrorClass::permanent : ErrorClass::rejected, to_string(reason))
      .with_retry_after(retry_after);
}
inline Error error_of(SignalDrop reason) noexcept {
  return Error::fixed(reason, reason == SignalDrop::late ? ErrorClass::timeout : ErrorClass::rejected,
                      to_string(reason));
}

// Events: the references are valid during the call.

template <class S>
struct SignalRefused {
  const S& signal;
  Error error;
};
template <class S>
struct SignalDropped {
  const S& signal;
  SignalDrop reason;
  Duration waited;
};
template <class S>
struct SignalHandled {
  const S& signal;
  std::optional<ErrorClass> failure;  ///< none: the handler succeeded
  Duration waited;  ///< from acceptance to the handler's start
  Duration took;    ///< the handler, for the whole batch
  bool missed;      ///< it ended after the deadline
};

}  // namespace aura
