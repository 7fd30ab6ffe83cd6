// Whether declared worst cases fit: the processor-demand test, for one node and for classes that are dealt to nodes.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aura {

/// Codes of the domain "demand".
enum class demand_errc : std::int32_t {
  bad_class = 1,     ///< a burst of none, or a span that is not positive
  over_capacity = 2, ///< a window exists in which more can fall due than the node serves
  undecided = 3,     ///< not settled within evaluations_max: refused to be safe
  too_many = 4,      ///< classes_max
};
constexpr std::string_view error_domain(demand_errc) noexcept { return "demand"; }

/// What a class of tasks promises: in any window of length t, ends included, at most burst + floor(t / period) tasks arrive,
/// and each takes at most `work` of the node and is to be done within `deadline` of its arrival. A token bucket of
/// `burst` tokens that gains one each `period` enforces it; periodic and sporadic tasks are those with a burst of 1.
struct DemandClass {
  std::uint32_t burst = 1;
  Duration period{};
  Duration work{};
  Duration deadline{};

  friend bool operator==(const DemandClass&, const DemandClass&) = default;
};

/// What each of `ways` nodes gets of a class whose tasks are dealt to them in turn: the k-th, the k+ways-th and so on.
constexpr DemandClass dealt(DemandClass all, std::uint32_t ways) noexcept {
  if (ways <= 1) return all;
  const bool fits = all.period.count() <= std::numeric_limits<Duration::rep>::max() / ways;
  all.period = fits ? all.period * ways : Duration::max();
  if (all.burst > 0) all.burst = 1 + (all.burst - 1) / ways + ((all.burst - 1) % ways == 0 ? 0 : 1);
  return all;
}

struct DemandOptions {
  /// The longest that a task keeps the node once one with an earlier deadline has arrived. Zero: preempted at once.
  /// `Duration::max()`: a task that has begun is never interrupted.
  Duration unpreemptible{};
  std::size_t classes_max = 256;  ///< on one node
  std::size_t evaluations_max = 100'000;  ///< of the demand of all classes together, in one test
};

/// By how much a set of classes fits.
struct DemandSlack {
  Duration spare{};  ///< for so long may the node stand still, once in any busy spell, and no deadline is missed
  Duration window{};  ///< the window in which no more than that is left
  double load = 0;  ///< of the node, in the long run
};

/// The work of these classes that can both arrive and fall due within a window, at worst; held at the end of the scale
/// instead of overflowing.
Duration demand_within(std::span<const DemandClass> classes, Duration window) noexcept;

/// The processor-demand test: does the demand of every window fit into it? (Baruah, Mok, Rosier, RTSS 1990.) Windows are
/// gone through from the longest that matters downwards, by leaps (QPA: Zhang, Burns, IEEE TC 58(9), 2009), here with the
/// least slack carried along, so that it is exact, too.
///
/// What an accepted set is guaranteed: on a node that serves these tasks by earliest deadline first, that idles only when
/// there are none, and that gives them all of its time, no task misses its deadline, as long as each class keeps its
/// promise. With preemption at once this is exact: where the set is refused as over_capacity, the arrivals that the
/// classes promise to stay within miss a deadline under every policy. Otherwise the longest stretch that a later deadline
/// can hold the node is added to the demand (Jeffay, Stanat, Martel, RTSS 1991; Baruah, ECRTS 2005): never
/// accepts what can miss, and exact for earliest deadline first without preemption. Nothing is said of work beyond what
/// was declared, of a node that fails, or of the network in between: take those off the deadline.
///
/// Refused: over_capacity, whose line names window, demand and capacity; undecided. Integers throughout. Linear in the
/// classes for each evaluation, of which a few dozen are usual and evaluations_max the most. Pure.
Result<DemandSlack> demand_bound(std::span<const DemandClass> classes, const DemandOptions& options = {});

namespace detail {

/// One run of the test.
class DemandTest {
 public:
  using Nanos = std::int64_t;

  DemandTest(std::span<const DemandClass> classes, const DemandOptions& options) noexcept
      : classes_(classes), options_(options) {}

  static Nanos add(Nanos a, Nanos b) noexcept { return b > end - a ? end : a + b; }
  static Nanos times(Nanos a, Nanos b) noexcept { return a != 0 && b > end / a ? end : a * b; }

  Nanos demand(Nanos window) const noexcept {
    Nanos sum = 0;
    for (const DemandClass& one : classes_) {
      const Nanos left = window - one.deadline.count();
      if (left >= 0) sum = add(sum, times(one.work.count(), add(one.burst, left / one.period.count())));
    }
    return sum;
  }

  Result<DemandSlack> run() {
    if (auto sound = check(); !sound) return sound.error();
    if (classes_.empty()) return DemandSlack{Duration::max(), Duration::max(), 0};
    weigh_load();
    if (load_low_ > one_load) return overloaded();
    for (const DemandClass& one : classes_) {
      if (!look(one.deadline.count())) return over_capacity(one.deadline.count());
    }
    const std::optional<Nanos> longest = horizon();
    if (!longest) return undecided();
    return descend(*longest);
  }

 private:
  static constexpr Nanos end = std::numeric_limits<Nanos>::max();
  static constexpr std::uint64_t one_load = std::uint64_t{1} << 60;

  Result<void> check() const {
    if (classes_.size() > options_.classes_max) {
      return Error::fixed(demand_errc::too_many, ErrorClass::rejected, "as many classes as classes_max");
    }
    for (std::size_t i = 0; i < classes_.size(); ++i) {
      const DemandClass& one = classes_[i];
      const Duration least = std::min({one.period, one.work, one.deadline});
      if (one.burst > 0 && least > Duration::zero()) {
        shortest_ = std::min(shortest_, one.deadline.count());
        longest_ = std::max(longest_, one.deadline.count());
        continue;
      }
      return Error(demand_errc::bad_class, ErrorClass::permanent,
                   "class " + std::to_string(i) + ": burst, period, work and deadline must be positive");
    }
    return {};
  }

  // Work over period, summed, in 60 binary places: rounded down, and by how many places at most.
  void weigh_load() noexcept {
    for (const DemandClass& one : classes_) {
      const auto period = static_cast<std::uint64_t>(one.period.count());
      auto rest = static_cast<std::uint64_t>(one.work.count());
      if (rest > period) load_low_ = 2 * one_load;
      if (load_low_ > one_load) return;
      std::uint64_t share = rest == period ? one_load : 0;
      if (rest == period) rest = 0;
      for (std::uint64_t place = one_load >> 1; place != 0 && rest != 0; place >>= 1) {
        rest *= 2;
        if (rest < period) continue;
        rest -= period;
        share += place;
      }
      load_low_ += share;
      if (rest != 0) ++load_unsure_;
    }
  }

  Nanos blocking(Nanos window) const noexcept {
    Nanos most = 0;
    for (const DemandClass& one : classes_) {
      if (one.deadline.count() > window) most = std::max(most, std::min(one.work, options_.unpreemptible).count());
    }
    return most;
  }

  // Takes the slack of one window into account; false where it is negative.
  bool look(Nanos window) noexcept {
    ++evaluations_;
    needed_ = add(demand(window), blocking(window));
    if (needed_ > window) return false;
    if (window - needed_ < spare_) {
      spare_ = window - needed_;
      tightest_ = window;
    }
    return true;
  }

  // No window beyond it has less slack than some window within. Any of three bounds does:
  // - the demand grows no faster than the load, so the slack comes to exceed the shortest deadline, which is all that
  //   there can be;
  // - past the synchronous busy spell, a window's slack is at least that of the window shorter by the spell;
  // - past the longest deadline, it is at least that of the window shorter by a common multiple of the periods. Only this
  //   one is finite where bursts fall on a node that is used wholly.
  std::optional<Nanos> horizon() noexcept {
    std::optional<Nanos> found;
    Nanos bursts = 0;
    for (const DemandClass& one : classes_) bursts = add(bursts, times(one.work.count(), one.burst));
    if (load_low_ + load_unsure_ < one_load) {
      const double left = static_cast<double>(one_load - load_low_ - load_unsure_) / static_cast<double>(one_load);
      const double bound = (static_cast<double>(bursts) + static_cast<double>(shortest_)) / left * (1 + 1e-9) + 1;
      if (bound < 0x1p62) found = static_cast<Nanos>(bound);
    }
    if (const Nanos cycle = common_period(); cycle < end) {
      const Nanos bound = add(cycle, longest_);
      found = found ? std::min(*found, bound) : bound;
    }
    for (Nanos spell = bursts; spell < end / 2 && evaluations_ < options_.evaluations_max / 2; ++evaluations_) {
      if (found && spell >= *found) break;
      Nanos arrived = 0;
      for (const DemandClass& one : classes_) {
        const Nanos later = (spell - 1) / one.period.count();  // in [0, spell), after the burst at 0
        arrived = add(arrived, times(one.work.count(), add(one.burst, later)));
      }
      if (arrived == spell) {
        const Nanos bound = add(spell, shortest_);
        found = found ? std::min(*found, bound) : bound;
        break;
      }
      spell = arrived;
    }
    return found;
  }

  // The least common multiple of the periods, where the work that arrives in it is no more; else the end of the scale.
  Nanos common_period() const noexcept {
    Nanos cycle = 1, arrived = 0;
    for (const DemandClass& one : classes_) {
      cycle = times(cycle / std::gcd(cycle, one.period.count()), one.period.count());
      if (cycle == end) return end;
    }
    for (const DemandClass& one : classes_)
      arrived = add(arrived, times(one.work.count(), cycle / one.period.count()));
    return arrived <= cycle ? cycle : end;
  }

  // The last window below `window` at which the demand steps up; -1 where there is none.
  Nanos step_below(Nanos window) const noexcept {
    Nanos last = -1;
    for (const DemandClass& one : classes_) {
      const Nanos deadline = one.deadline.count(), period = one.period.count();
      if (deadline < window) last = std::max(last, deadline + (window - 1 - deadline) / period * period);
    }
    return last;
  }

  // A shorter window needs no more: what a class no longer blocks from its deadline on, it demands from there. So every
  // window from needed + spare up to this one has that slack, too.
  Result<DemandSlack> descend(Nanos longest) {
    Nanos window = step_below(add(longest, 1));
    while (window >= 0) {
      if (evaluations_ >= options_.evaluations_max) return undecided();
      if (!look(window)) return over_capacity(window);
      const Nanos cleared = std::min(window, needed_ + spare_);
      window = step_below(cleared);
    }
    return DemandSlack{Duration(spare_), Duration(tightest_),
                       static_cast<double>(load_low_) / static_cast<double>(one_load)};
  }

  // More than all of the node in the long run: looks for a window that shows it.
  Error overloaded() {
    for (Nanos window = longest_; window < end / 2; window *= 2) {
      if (!look(window)) return over_capacity(window);
    }
    return Error::fixed(demand_errc::over_capacity, ErrorClass::rejected,
                        "demand over capacity: in the long run more work arrives than time passes");
  }
  Error over_capacity(Nanos window) const {
    const auto nanos = [](Nanos span) { return span == end ? "over 2^63 ns" : std::to_string(span) + " ns"; };
    return Error(demand_errc::over_capacity, ErrorClass::rejected,
                 "demand over capacity: window " + nanos(window) + ", demand " + nanos(needed_) +
                     " (of it blocking " + nanos(blocking(window)) + "), capacity " + nanos(window));
  }
  static Error undecided() {
    return Error::fixed(demand_errc::undecided, ErrorClass::rejected,
                        "demand not settled within evaluations_max: refused to be safe");
  }

  std::span<const DemandClass> classes_;
  const DemandOptions& options_;
  mutable Nanos shortest_ = end, longest_ = 0;  // deadlines
  std::uint64_t load_low_ = 0, load_unsure_ = 0;
  std::size_t evaluations_ = 0;
  Nanos needed_ = 0;
  Nanos spare_ = end, tightest_ = 0;
};

}  // namespace detail

inline Duration demand_within(std::span<const DemandClass> classes, Duration window) noexcept {
  return Duration(detail::DemandTest(classes, {}).demand(window.count()));
}
inline Result<DemandSlack> demand_bound(std::span<const DemandClass> classes, const DemandOptions& options) {
  return detail::DemandTest(classes, options).run();
}

/// Classes on nodes of different speeds, each class on one node: the first on which `demand_bound` still holds. Sufficient
/// and not necessary for the cluster: a set is refused that another partition, or migration, would have served. Accepted
/// classes have on their node the guarantee of `demand_bound`, given that their tasks are sent to that node and no other
/// (a class too large for one node is `dealt` and declared once for each way). Plain: the host serialises. No allocation
/// but in `admit` and in the text of a refusal.
class DemandPartition {
 public:
  struct Place {
    std::uint64_t id = 0;  ///< for `release`
    std::size_t node = 0;
    DemandSlack slack{};  ///< of that node, the class included
  };

  /// A node for each speed, in thousandths of the one that the work of classes is given for; a speed of 0 takes nothing.
  explicit DemandPartition(std::span<const std::uint32_t> speeds_permille, const DemandOptions& options = {})
      : options_(options) {
    for (const std::uint32_t speed : speeds_permille) nodes_.push_back({speed, {}, {}});
  }

  /// Refused with the refusal of the fastest node, or the error of the class.
  Result<Place> admit(const DemandClass& wanted) {
    std::optional<Error> refusal;
    std::uint32_t fastest = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      if (node.speed_permille == 0) continue;
      node.classes.push_back(at_speed(wanted, node.speed_permille));
      const auto fits = demand_bound(node.classes, options_);
      if (fits) {
        node.ids.push_back(++last_id_);
        return Place{last_id_, i, *fits};
      }
      node.classes.pop_back();
      if (!refusal || node.speed_permille > fastest) refusal = fits.error();
      fastest = std::max(fastest, node.speed_permille);
    }
    if (refusal) return *refusal;
    return Error::fixed(demand_errc::over_capacity, ErrorClass::rejected, "demand over capacity: there is no node");
  }

  /// False where no class has that id.
  bool release(std::uint64_t id) noexcept {
    for (Node& node : nodes_) {
      const auto found = std::find(node.ids.begin(), node.ids.end(), id);
      if (found == node.ids.end()) continue;
      node.classes.erase(node.classes.begin() + (found - node.ids.begin()));
      node.ids.erase(found);
      return true;
    }
    return false;
  }

  /// With their work as it is on that node.
  std::span<const DemandClass> classes_on(std::size_t node) const noexcept { return nodes_[node].classes; }
  std::size_t nodes() const noexcept { return nodes_.size(); }

 private:
  struct Node {
    std::uint32_t speed_permille = 0;
    std::vector<DemandClass> classes{};
    std::vector<std::uint64_t> ids{};
  };

  static Duration at_speed(Duration work, std::uint32_t speed) noexcept {
    const auto whole = detail::DemandTest::times(work.count() / speed, 1000);
    return Duration(detail::DemandTest::add(whole, (work.count() % speed * 1000 + speed - 1) / speed));
  }
  static DemandClass at_speed(DemandClass one, std::uint32_t speed) noexcept {
    if (one.work > Duration::zero()) one.work = at_speed(one.work, speed);
    return one;
  }

  DemandOptions options_;
  std::vector<Node> nodes_;
  std::uint64_t last_id_ = 0;
};

}  // namespace aura
