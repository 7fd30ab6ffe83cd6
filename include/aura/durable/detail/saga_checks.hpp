// The sentences a user reads when a saga does not hold together. Each names its culprits in template arguments.
#pragma once

#include <aura/durable/fixed_string.hpp>
#include <aura/durable/saga_definition.hpp>

#include <array>
#include <cstddef>

namespace aura::detail {

template <auto...>
inline constexpr bool never = false;
template <class...>
inline constexpr bool never_type = false;

template <fixed_string Step, fixed_string NoSuchStep>
struct comes_after_unknown_step {
  static_assert(never<Step, NoSuchStep>, "aura: a step comes after a name that is no step of this saga");
};
template <fixed_string Step>
struct waits_for_itself {
  static_assert(never<Step>, "aura: the steps of this saga wait for each other in a cycle");
};
template <fixed_string Step>
struct name_taken_twice {
  static_assert(never<Step>, "aura: two steps of this saga have the same name");
};
template <fixed_string Step, fixed_string OtherPivot>
struct second_pivot {
  static_assert(never<Step, OtherPivot>, "aura: a saga has at most one pivot");
};
template <fixed_string Step>
struct step_without_kind {
  static_assert(never<Step>,
                "aura: this step has no kind: give it .undo(compensation), .pivot(), .retriable() or .pure()");
};
template <fixed_string Step>
struct compensatable_after_pivot {
  static_assert(never<Step>,
                "aura: a step with a compensation must come before the pivot: name it, directly or "
                "through others, in the pivot's after<>");
};
template <fixed_string Step>
struct retriable_before_pivot {
  static_assert(never<Step>, "aura: a retriable step cannot come before the pivot: it could not be undone");
};
template <fixed_string Step>
struct retriable_without_pivot {
  static_assert(never<Step>,
                "aura: a saga without a pivot has either only steps with a compensation or only "
                "retriable ones, besides pure steps");
};
template <fixed_string Step>
struct undo_of_wrong_kind {
  static_assert(never<Step>, "aura: only a compensatable step has a compensation");
};
template <fixed_string Step, class Input>
struct input_without_codec {
  static_assert(never_type<Input>,
                "aura: the input of this saga has no codec: include <aura/core/json_codec.hpp> and give it to_json "
                "and from_json, or specialise aura::Codec");
};
template <fixed_string Step, class ResultType>
struct result_without_codec {
  static_assert(never_type<ResultType>,
                "aura: the result of this step has no codec: include <aura/core/json_codec.hpp> and give it to_json "
                "and from_json, or specialise aura::Codec");
};
template <fixed_string Step>
struct input_not_deducible {
  static_assert(never<Step>,
                "aura: the saga's input is the first parameter of its first step's action: give that "
                "action one signature, neither generic nor overloaded");
};
template <fixed_string Step, class Action, class... Arguments>
struct action_does_not_fit {
  static_assert(never_type<Action>,
                "aura: the action of this step cannot be called with (the saga's input, the "
                "results of the steps it comes after, and perhaps an aura::StepContext&)");
};
template <fixed_string Step, class Compensation, class Input, class ResultType>
struct compensation_does_not_fit {
  static_assert(
      never_type<Compensation>,
      "aura: the compensation of this step does not fit its action: it is called with (the saga's input, "
      "std::optional of the action's result, and perhaps an aura::StepContext&); the result may be left out");
};
template <std::size_t Steps>
struct too_many_steps {
  static_assert(never<Steps>, "aura: a saga has at most 64 steps");
};

/// The graph of a saga's steps, at compile time. An index of -1: none.
template <std::size_t N>
struct StepGraph {
  std::array<StepSet, N> before{};
  std::array<int, N> kind{};

  /// Warshall's closure, a row at a time: compilers bound how many steps a constant may take.
  constexpr std::array<StepSet, N> ancestors() const {
    std::array<StepSet, N> all = before;
    for (std::size_t through = 0; through < N; ++through)
      for (std::size_t i = 0; i < N; ++i)
        if (all[i] & step_bit(through)) all[i] |= all[through];
    return all;
  }
  constexpr int on_a_cycle() const {
    const auto all = ancestors();
    for (std::size_t i = 0; i < N; ++i)
      if (all[i] & step_bit(i)) return static_cast<int>(i);
    return -1;
  }
  constexpr int first_of(StepKind wanted, std::size_t from = 0) const {
    for (std::size_t i = from; i < N; ++i)
      if (kind[i] == static_cast<int>(wanted)) return static_cast<int>(i);
    return -1;
  }
  constexpr int without_kind() const {
    for (std::size_t i = 0; i < N; ++i)
      if (kind[i] < 0) return static_cast<int>(i);
    return -1;
  }
  constexpr int pivot() const { return first_of(StepKind::pivot); }
  constexpr int other_pivot() const {
    return pivot() < 0 ? -1 : first_of(StepKind::pivot, static_cast<std::size_t>(pivot()) + 1);
  }
  /// A compensatable step that is no ancestor of the pivot, where there is a pivot.
  constexpr int stranded_compensatable() const {
    if (pivot() < 0) return -1;
    const StepSet before_pivot = ancestors()[static_cast<std::size_t>(pivot())];
    for (std::size_t i = 0; i < N; ++i)
      if (kind[i] == static_cast<int>(StepKind::compensatable) && !(before_pivot & step_bit(i)))
        return static_cast<int>(i);
    return -1;
  }
  constexpr int early_retriable() const {
    if (pivot() < 0) return -1;
    const StepSet before_pivot = ancestors()[static_cast<std::size_t>(pivot())];
    for (std::size_t i = 0; i < N; ++i)
      if (kind[i] == static_cast<int>(StepKind::retriable) && (before_pivot & step_bit(i)))
        return static_cast<int>(i);
    return -1;
  }
  constexpr int mixed_without_pivot() const {
    if (pivot() >= 0 || first_of(StepKind::compensatable) < 0) return -1;
    return first_of(StepKind::retriable);
  }
};

}  // namespace aura::detail
