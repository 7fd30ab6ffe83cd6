// What a breaker gives whom it lets pass, and whom it does not.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/rejection.hpp>

#include <cstdint>

namespace aura {

/// The right to make one call, as the core knows it: which epoch admitted it, and as what.
struct BreakerTicket {
  std::uint64_t word = 0;
};

/// A ticket, or why there is none. Trivial, so that the hot path keeps it in registers; `BreakerCore::error` words it.
struct BreakerAdmission {
  BreakerTicket ticket{};  ///< of the moment, also where it does not pass
  rejection_errc code{};  ///< zero where it passes
  Duration retry_after{};

  bool passes() const noexcept { return code == rejection_errc{}; }
};

}  // namespace aura
