// What a breaker says when it turns a call away, composed once for each name.
#pragma once

#include <aura/operational/rejection.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace aura::detail {

struct RejectionTexts {
  std::string name, open, half_open, throttled, forced_open, limit;

  explicit RejectionTexts(std::string_view of)
      : name(of),
        open("the circuit breaker of " + name + " is open"),
        half_open("the circuit breaker of " + name + " is half-open and has no place for a probe"),
        throttled("the circuit breaker of " + name + " holds calls back"),
        forced_open("the circuit breaker of " + name + " was forced open by hand"),
        limit("the circuit breaker of " + name + " has as many calls in flight as it allows") {}

  std::string_view of(rejection_errc code) const noexcept {
    switch (code) {
      case rejection_errc::breaker_open: return open;
      case rejection_errc::breaker_half_open: return half_open;
      case rejection_errc::breaker_forced_open: return forced_open;
      case rejection_errc::concurrency_limit: return limit;
      default: return throttled;
    }
  }
};

/// An Error on the hot path refers to a text instead of owning it, and may outlive the breaker that gave it: so the
/// texts are kept for the life of the process. There are at most `names_max`; any name beyond is "a dependency".
inline const RejectionTexts* rejection_texts(std::string_view name) {
  constexpr std::size_t names_max = 65'536;
  static std::mutex mutex;
  static std::unordered_map<std::string, std::unique_ptr<const RejectionTexts>> known;
  static const RejectionTexts nameless("a dependency");
  const std::lock_guard lock(mutex);
  const auto found = known.find(std::string(name));
  if (found != known.end()) return found->second.get();
  if (known.size() >= names_max) return &nameless;
  return known.emplace(name, std::make_unique<const RejectionTexts>(name)).first->second.get();
}

}  // namespace aura::detail
