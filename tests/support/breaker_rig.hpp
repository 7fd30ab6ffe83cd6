// What tests of breaker policies share: a clock that stands still, calls that end at once, and complaints as text.
#pragma once

#include <aura/core/outcome.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/breaker/core.hpp>

#include <stdexcept>
#include <string>

inline auto at(aura::Duration since_begin) {
  return [since_begin] { return aura::SteadyTime(since_begin); };
}

template <class Policy>
using Core = aura::BreakerCore<Policy>;

/// One call of a breaker that ends at once. False where it was turned away.
template <class Policy>
bool call(Core<Policy>& core, aura::SteadyTime now, bool fails) {
  const auto admission = core.admit(now);
  if (!admission.passes()) return false;
  aura::AttemptOutcome outcome;
  if (fails) outcome.failure = aura::ErrorClass::transient;
  core.record(admission.ticket, outcome, [now] { return now; });
  return true;
}

/// What `make` throws, or nothing.
template <class F>
std::string complaint(F make) {
  try {
    make();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}
inline bool names(const std::string& text, const char* culprit) { return text.find(culprit) != std::string::npos; }
