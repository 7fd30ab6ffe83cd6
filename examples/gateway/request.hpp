// What a request is, what it costs, and what may go wrong with it.
#pragma once

#include "trace.hpp"

#include <aura/core/ids.hpp>
#include <aura/core/random.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace gateway {

/// The input of the saga.
struct Request {
  std::uint32_t row = 0;
  std::string tenant;
  std::uint32_t context_tokens = 0;
  std::uint32_t generated_tokens = 0;  ///< a real gateway learns this from its worker; here the trace knows it
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Request, row, tenant, context_tokens, generated_tokens)

inline constexpr std::uint32_t tenants = 20;
inline constexpr std::uint32_t answer_tokens_max =
    1024;  ///< what is reserved for an answer before its length is known

inline std::string tenant_name(std::uint32_t number) { return fmt::format("tenant-{:02}", number); }

inline Request request_of(const Arrival& arrival) {
  const auto tenant = static_cast<std::uint32_t>(aura::mix64(arrival.row) % tenants);
  return {arrival.row, tenant_name(tenant), arrival.context_tokens, arrival.generated_tokens};
}

/// The run's name follows from the row, so that starting it a second time starts nothing.
inline aura::RunId run_of(std::uint32_t row) { return aura::RunId{fmt::format("request-{:06}", row)}; }

inline std::int64_t tokens_used(const Request& request) {
  return std::int64_t{request.context_tokens} + request.generated_tokens;
}
inline std::int64_t tokens_reserved(const Request& request) {
  return std::int64_t{request.context_tokens} + std::max(request.generated_tokens, answer_tokens_max);
}
/// $0.50 for a million tokens read, $1.50 for a million written; in billionths of a dollar.
inline std::int64_t price_nano_usd(std::uint32_t context_tokens, std::uint32_t generated_tokens) {
  return std::int64_t{context_tokens} * 500 + std::int64_t{generated_tokens} * 1500;
}

/// Faults that follow from the seed alone: the same attempt of the same request fails the same way in every process
/// that tries it, which is what makes a run repeatable.
struct Faults {
  std::uint64_t seed = 1;
  double scale = 1;

  double worker_error = 0.02;      ///< of attempts: transient
  double worker_hangs = 0.004;     ///< of attempts: until the timeout
  double prompt_refused = 0.008;   ///< of requests: permanent
  double ledger_busy = 0.01;       ///< of attempts at the ledger: transient
  double client_gone = 0.01;       ///< of requests: the answer cannot be delivered, so the bill is refunded
  double refund_broken = 0.2;      ///< of refunds: fails until an operator asks for it again
  double settle_broken = 0.0015;   ///< of settlements: likewise

  /// One throw of the dice. `attempt` is 0 for what does not depend on the attempt.
  bool happens(double share, std::string_view what, std::uint32_t row, std::uint32_t attempt = 0) const {
    aura::Random dice = aura::Random::stream(seed ^ (std::uint64_t{row} << 20) ^ attempt, what);
    return dice.chance(std::min(share * scale, 0.9));
  }
};

inline aura::Error fault(aura::ErrorClass error_class, std::string message) {
  return {"gateway", 2, error_class, std::move(message)};
}

}  // namespace gateway
