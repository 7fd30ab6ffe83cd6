// Saga<Steps...>: defined once, typed throughout, checked by the compiler, lowered to a SagaDefinition.
#pragma once

#include <aura/core/json_codec.hpp>
#include <aura/durable/detail/saga_checks.hpp>
#include <aura/durable/detail/step_action.hpp>
#include <aura/durable/saga_definition.hpp>
#include <aura/durable/saga_error.hpp>
#include <aura/durable/saga_report.hpp>
#include <aura/durable/step.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace aura {

/// Which version of a saga's definition this is. A run finishes on the version that began it.
enum class version : std::uint32_t {};

/// What concerns a saga as a whole. Units and meanings as in SagaDefinition.
struct SagaOptions {
  Duration deadline{};
  std::uint32_t parallel_max = 16;
  bool compensate_in_parallel = false;
  Settle settle = Settle::finish;
  std::uint32_t interruptions_max = 20;
  AnyCompensationPolicy policy{};
  PayloadRules payload{};
};

namespace detail {

/// What can be said of the steps of one saga at compile time.
template <class... Steps>
struct SagaTypes {
  static constexpr std::size_t size = sizeof...(Steps);
  template <std::size_t I>
  using step_at = std::tuple_element_t<I, std::tuple<Steps...>>;

  static constexpr int index_of(std::string_view name) {
    constexpr std::array<std::string_view, size> names{Steps::name.view()...};
    for (std::size_t i = 0; i < size; ++i)
      if (names[i] == name) return static_cast<int>(i);
    return -1;
  }

  template <class After>
  struct edges;
  template <fixed_string... Names>
  struct edges<step_names<Names...>> {
    static constexpr std::array<int, sizeof...(Names)> indexes{index_of(Names.view())...};
    static constexpr StepSet set() {
      StepSet all = 0;
      for (const int i : indexes)
        if (i >= 0) all |= step_bit(static_cast<std::size_t>(i));
      return all;
    }
  };

  static constexpr StepGraph<size> graph{{edges<typename Steps::after_type>::set()...}, {Steps::kind...}};

  using input = typename first_parameter<typename step_at<0>::action_type>::type;

  // The result of a step follows from those of the steps before it; `graph` has no cycle where this is asked.
  template <std::size_t I, class After>
  struct call_with;
  template <std::size_t I>
  struct result_at {
    using type = typename call_with<I, typename step_at<I>::after_type>::value;
  };
  template <std::size_t I>
  using result = typename result_at<I>::type;

  template <std::size_t... I>
  struct index_list {};
  template <class Kept, std::size_t... Left>
  struct non_void;
  template <std::size_t... Kept>
  struct non_void<index_list<Kept...>> {
    using type = index_list<Kept...>;
  };
  template <std::size_t... Kept, std::size_t Next, std::size_t... Left>
  struct non_void<index_list<Kept...>, Next, Left...>
      : std::conditional_t<std::is_void_v<result<Next>>, non_void<index_list<Kept...>, Left...>,
                           non_void<index_list<Kept..., Next>, Left...>> {};

  template <std::size_t I, fixed_string... Names>
  struct call_with<I, step_names<Names...>> {
    using taken = typename non_void<index_list<>, static_cast<std::size_t>(index_of(Names.view()))...>::type;
    template <class List>
    struct with;
    template <std::size_t... J>
    struct with<index_list<J...>> {
      using action = typename step_at<I>::action_type;
      static constexpr bool fits = action_fits<action, const input, const result<J>...>::value;
      using value = typename action_value<action, const input, const result<J>...>::type;
      using mismatch = action_does_not_fit<step_at<I>::name, action, input, result<J>...>;
      static StepAction erase(action f, bool blocking) {
        return erase_action<input, result<J>...>(std::move(f), blocking, slots(),
                                                 std::make_index_sequence<sizeof...(J)>{});
      }
      /// Which of the results named by `after`, the void ones counted, are taken.
      static std::vector<std::size_t> slots() {
        constexpr std::array<std::size_t, sizeof...(Names)> named{
            static_cast<std::size_t>(index_of(Names.view()))...};
        constexpr std::array<bool, size> wanted = [] {
          std::array<bool, size> all{};
          ((all[J] = true), ...);
          return all;
        }();
        std::vector<std::size_t> out;
        for (std::size_t slot = 0; slot < named.size(); ++slot)
          if (wanted[named[slot]]) out.push_back(slot);
        return out;
      }
    };
    using type = with<taken>;
    using value = typename type::value;
  };
  template <std::size_t I>
  using call = typename call_with<I, typename step_at<I>::after_type>::type;

  // The checks, in the order in which one mistake would cause the next.

  template <std::size_t I, fixed_string... Names>
  static constexpr bool names_known(step_names<Names...>) {
    (
        [] {
          if constexpr (index_of(Names.view()) < 0) comes_after_unknown_step<step_at<I>::name, Names>{};
        }(),
        ...);
    return ((index_of(Names.view()) >= 0) && ...);
  }
  template <std::size_t... I>
  static constexpr bool names_sound(std::index_sequence<I...>) {
    (
        [] {
          if constexpr (index_of(step_at<I>::name.view()) != static_cast<int>(I))
            name_taken_twice<step_at<I>::name>{};
        }(),
        ...);
    return ((index_of(step_at<I>::name.view()) == static_cast<int>(I)) && ...) &&
           (names_known<I>(typename step_at<I>::after_type{}) && ...);
  }

  template <int I, template <fixed_string> class Fault>
  static constexpr bool none() {
    if constexpr (I >= 0) Fault<step_at<static_cast<std::size_t>(I)>::name>{};
    return I < 0;
  }
  static constexpr bool graph_sound() {
    if constexpr (!none<graph.on_a_cycle(), waits_for_itself>())
      return false;
    else if constexpr (!none<graph.without_kind(), step_without_kind>())
      return false;
    else if constexpr (graph.other_pivot() >= 0) {
      second_pivot<step_at<static_cast<std::size_t>(graph.other_pivot())>::name,
                   step_at<static_cast<std::size_t>(graph.pivot())>::name>{};
      return false;
    } else if constexpr (!none<graph.stranded_compensatable(), compensatable_after_pivot>())
      return false;
    else if constexpr (!none<graph.early_retriable(), retriable_before_pivot>())
      return false;
    else
      return none<graph.mixed_without_pivot(), retriable_without_pivot>();
  }

  template <std::size_t I>
  static constexpr bool step_sound() {
    using step = step_at<I>;
    if constexpr (!call<I>::fits) {
      typename call<I>::mismatch{};
      return false;
    } else {
      using value = result<I>;
      if constexpr (!std::is_void_v<value> && !has_codec<value>) {
        result_without_codec<step::name, value>{};
        return false;
      } else if constexpr (step::has_undo && step::kind != static_cast<int>(StepKind::compensatable)) {
        undo_of_wrong_kind<step::name>{};
        return false;
      } else if constexpr (step::has_undo) {
        using undo = typename step::undo_type;
        constexpr bool fits = undo_fits<undo, input, value>;
        if constexpr (!fits) compensation_does_not_fit<step::name, undo, input, value>{};
        return fits;
      } else {
        return true;
      }
    }
  }
  template <std::size_t... I>
  static constexpr bool steps_sound(std::index_sequence<I...>) {
    return (step_sound<I>() && ...);
  }

  static constexpr bool sound() {
    if constexpr (size > saga_steps_max)
      return too_many_steps<size>{}, false;
    else if constexpr (!names_sound(std::make_index_sequence<size>{}))
      return false;
    else if constexpr (!graph_sound())
      return false;
    else if constexpr (std::is_same_v<input, unknown_type>)
      return input_not_deducible<step_at<0>::name>{}, false;
    else if constexpr (!has_codec<input>)
      return input_without_codec<step_at<0>::name, input>{}, false;
    else
      return steps_sound(std::make_index_sequence<size>{});
  }
};

template <>
struct SagaTypes<> {
  using input = unknown_type;
  template <std::size_t>
  using result = void;
  static constexpr bool sound() { return false; }
};

template <fixed_string Name, class... Steps>
constexpr std::size_t place_of() {
  constexpr int place = SagaTypes<Steps...>::index_of(Name.view());
  static_assert(place >= 0, "aura: this saga has no step of that name");
  return place < 0 ? 0 : static_cast<std::size_t>(place);
}

}  // namespace detail

/// A saga and the types of its input and results. Immutable once made; copies share one description.
///
///     aura::Saga checkout{"checkout", aura::version{2},
///         aura::step<"reserve">(reserve).undo(release),
///         aura::step<"charge">(charge).undo(refund).after<"reserve">().timeout(2s),
///         aura::step<"ship">(ship).after<"charge">().pivot(),
///         aura::step<"notify">(notify).after<"ship">().retriable()};
///
/// A saga that does not hold together (a name that is no step, a cycle, a result without a codec, a compensation that
/// does not fit) does not compile, and one sentence says why.
template <class... Steps>
class Saga {
  using types = detail::SagaTypes<Steps...>;

 public:
  using input_type = typename types::input;
  template <fixed_string Name>
  using result_type = typename types::template result<detail::place_of<Name, Steps...>()>;

  Saga(std::string name, version number, Steps... steps)
      : Saga(std::move(name), number, SagaOptions{}, std::move(steps)...) {}

  Saga(std::string name, version number, SagaOptions options, Steps... steps) {
    static_assert(sizeof...(Steps) > 0, "aura: a saga has at least one step");
    if constexpr (types::sound())
      definition_ = lower(std::move(name), number, std::move(options), std::index_sequence_for<Steps...>{}, steps...);
  }

  const std::shared_ptr<const SagaDefinition>& definition() const noexcept { return definition_; }

  /// The result of a step of a run that has ended. core_errc::bad_encoding where
  /// the bytes do not parse, saga_errc::unknown_run where the step has no result (it was skipped or never ran).
  template <fixed_string Name>
  Result<result_type<Name>> result(const SagaReport& report) const {
    const std::string* bytes = report.result_of(Name.view());
    if (!bytes)
      return Error{saga_errc::unknown_run, ErrorClass::permanent,
                   "run " + report.run.str() + " has no result of step " + std::string(Name.view())};
    return decode_payload<result_type<Name>>(*bytes, definition_->payload);
  }

  /// The input as a record holds it.
  Result<std::string> encode_input(const input_type& input) const {
    return encode_payload(input, definition_->payload);
  }

 private:
  template <std::size_t... I>
  static std::shared_ptr<const SagaDefinition> lower(std::string name, version number, SagaOptions&& options,
                                                     std::index_sequence<I...>, Steps&... steps) {
    auto saga = std::make_shared<SagaDefinition>();
    saga->name = std::move(name);
    saga->version = static_cast<std::uint32_t>(number);
    saga->deadline = options.deadline;
    saga->parallel_max = options.parallel_max == 0 ? 1 : options.parallel_max;
    saga->compensate_in_parallel = options.compensate_in_parallel;
    saga->settle = options.settle;
    saga->interruptions_max = options.interruptions_max;
    saga->policy = std::move(options.policy);
    saga->payload = std::move(options.payload);
    (saga->steps.push_back(lower_step<I>(steps)), ...);
    saga->complete();
    return saga;
  }

  template <std::size_t I, class StepType>
  static StepDefinition lower_step(StepType& step) {
    const detail::StepTuning& tuning = step.tuning();
    StepDefinition out;
    out.name = StepType::name.view();
    out.kind = static_cast<StepKind>(StepType::kind);
    for (const int before : types::template edges<typename StepType::after_type>::indexes)
      out.after.push_back(static_cast<std::uint8_t>(before));
    out.forward.retry =
        tuning.retry.value_or(out.kind == StepKind::retriable ? RetryPolicy::forever() : RetryPolicy{});
    out.forward.timeout = tuning.timeout;
    out.forward.deadline = tuning.deadline;
    out.backward.retry = tuning.undo_retry.value_or(RetryPolicy::forever());
    out.backward.timeout = tuning.undo_timeout;
    out.guard = tuning.guard;
    out.result_is_void = std::is_void_v<typename types::template result<I>>;
    out.action = types::template call<I>::erase(std::move(step.action_ref()), tuning.blocking);
    if constexpr (StepType::has_undo)
      out.undo = detail::erase_undo<input_type, typename types::template result<I>>(std::move(step.undo_ref()),
                                                                                    tuning.blocking);
    return out;
  }

  std::shared_ptr<const SagaDefinition> definition_;
};

template <class... Steps>
Saga(std::string, version, Steps...) -> Saga<Steps...>;
template <class... Steps>
Saga(std::string, version, SagaOptions, Steps...) -> Saga<Steps...>;

}  // namespace aura
