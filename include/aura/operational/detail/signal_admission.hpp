// Whether a signal can still be handled in time behind what waits already.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/signal_class_state.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <span>

namespace aura::detail {

/// Work that a signal would wait for, in nanoseconds of handling.
struct WorkAhead {
  double mean_ns = 0;
  double variance = 0;
};

/// Of its own class: what has an earlier deadline, or the same. Of each other class: what deficit round robin lets it do
/// meanwhile (its weight to ours, and one quantum), and no more than it has. A few dozen steps.
inline WorkAhead work_ahead(std::span<const std::unique_ptr<SignalClassState>> classes, std::size_t own,
                            SteadyTime deadline, SteadyTime now, double quantum_ns) noexcept {
  SignalClassState& mine = *classes[own];
  const double count = static_cast<double>(mine.counts.up_to(deadline, now));
  const double deviation = mine.estimate.deviation_ns();
  WorkAhead ahead{count * mine.estimate.signal_ns(), (count + 1) * deviation * deviation};
  const double own_work = ahead.mean_ns + mine.estimate.signal_ns();
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (i == own) continue;
    const SignalClassState& other = *classes[i];
    const double each = other.estimate.signal_ns();
    const double theirs = static_cast<double>(other.waiting()) * each;
    if (theirs <= 0) continue;
    const double share = static_cast<double>(other.options.weight) / static_cast<double>(mine.options.weight);
    const double taken = std::min(theirs, own_work * share + quantum_ns * static_cast<double>(other.options.weight));
    ahead.mean_ns += taken;
    ahead.variance += taken / each * other.estimate.deviation_ns() * other.estimate.deviation_ns();
  }
  return ahead;
}

/// By how much the signal would probably be too late; not above zero where it fits. `parallel`: calls at once.
/// `key_ns`: work of its own key that has to come first, which no parallelism shortens.
inline double overrun_ns(const WorkAhead& ahead, double running_ns, double own_ns, double key_ns, double parallel,
                         double caution, Duration slack) noexcept {
  const double spread = caution * std::sqrt(ahead.variance) / parallel;
  const double wait = std::max((running_ns + ahead.mean_ns) / parallel, key_ns);
  // A signal that finds nobody before it is worth a try, whatever its own spread.
  const double margin = ahead.mean_ns > 0 ? spread : 0;
  return wait + margin + own_ns - static_cast<double>(slack.count());
}

}  // namespace aura::detail
