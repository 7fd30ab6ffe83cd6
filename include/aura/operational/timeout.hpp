// How long one attempt may take.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/time.hpp>

namespace aura {

/// A part of a `Pipeline`. At the limit the attempt's cancellation is signalled, and it has failed with `timed_out` of
/// class timeout, whether or not it listens; what it answers then is ignored. It keeps its place in the bulkhead until
/// it has really ended, so that the bulkhead's bound holds for what runs.
///
/// An action that returns a plain value cannot be interrupted, and is not timed. Costs a timer an attempt otherwise.
struct Timeout {
  Duration limit = std::chrono::seconds(1);

  static Error error() noexcept {
    return Error::fixed(core_errc::timed_out, ErrorClass::timeout, "the attempt took longer than its timeout");
  }
};

}  // namespace aura
