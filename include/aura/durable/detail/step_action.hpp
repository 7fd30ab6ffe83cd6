// A typed action as an erased one: decode, call in its own style, encode.
#pragma once

#include <aura/core/exception.hpp>
#include <aura/durable/detail/step_types.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace aura::detail {

// From what an action returned to what is recorded.

template <class T>
Result<StepOutput> to_output(T&& returned, const PayloadRules& rules) {
  using Value = std::remove_cvref_t<T>;
  if constexpr (is_result<Value>) {
    if (!returned) return returned.error();
    if constexpr (std::is_same_v<Value, Result<void>>)
      return StepOutput{};
    else
      return to_output(*std::forward<T>(returned), rules);
  } else if constexpr (std::is_same_v<Value, WithEffect<void>>) {
    return StepOutput{.bytes = {}, .effect = std::move(returned.effect)};
  } else if constexpr (is_with_effect<Value>) {
    Result<StepOutput> output = to_output(returned.value, rules);
    if (output) output->effect = std::move(returned.effect);
    return output;
  } else {
    Result<std::string> bytes = encode_payload(returned, rules);
    if (!bytes) return bytes.error();
    return StepOutput{.bytes = std::move(*bytes), .effect = {}};
  }
}

inline std::string culprit(const StepContext& context) {
  return (context.compensating() ? "the compensation of step " : "step ") + std::string(context.step());
}

/// The handler that an Initiation is given. Copyable; the first call counts. Where every copy is dropped without a
/// call, the attempt fails with that.
template <class T>
class InitiationHandler {
 public:
  template <class Frame>
  InitiationHandler(std::shared_ptr<StepCall> call, std::shared_ptr<Frame> frame)
      : pending_(std::make_shared<Pending>(Pending{std::move(call), std::move(frame)})) {}

  void operator()(Result<T> result) const {
    if (std::shared_ptr<StepCall> call = std::exchange(pending_->call, nullptr))
      call->finish(to_output(std::move(result), call->payload()));
  }

 private:
  struct Pending {
    std::shared_ptr<StepCall> call;
    std::shared_ptr<void> frame;
    Pending(std::shared_ptr<StepCall> c, std::shared_ptr<void> f) : call(std::move(c)), frame(std::move(f)) {}
    Pending(Pending&&) = default;
    ~Pending() {
      if (call)
        call->finish(Error{core_errc::exception, ErrorClass::transient, culprit(*call) + " dropped its handler"});
    }
  };
  std::shared_ptr<Pending> pending_;
};

/// The decoded arguments of one attempt.
template <class... Args>
struct ActionFrame {
  std::tuple<Args...> args;

  template <class F>
  decltype(auto) call(F& f, StepContext& context) const {
    return std::apply([&](const Args&... each) -> decltype(auto) { return call_action(f, context, each...); }, args);
  }
  template <class T, class F>
  void initiate(F& f, StepContext& context, InitiationHandler<T> handler) const {
    std::apply(
        [&](const Args&... each) {
          if constexpr (std::is_invocable_v<F&, const Args&..., StepContext&, InitiationHandler<T>>)
            f(each..., context, std::move(handler));
          else
            f(each..., std::move(handler));
        },
        args);
  }
};

template <class F, class Frame>
Result<StepOutput> output_of(F& f, StepCall& call, const Frame& frame) try {
  if constexpr (std::is_void_v<decltype(frame.call(f, call))>) {
    frame.call(f, call);
    return StepOutput{};
  } else {
    return to_output(frame.call(f, call), call.payload());
  }
} catch (...) {
  return error_of_current_exception(culprit(call));
}

template <class F, class Frame>
void run_plain(F& f, StepCall& call, const Frame& frame) {
  call.finish(output_of(f, call, frame));
}

template <class F, class Frame>
boost::asio::awaitable<void> run_coroutine(F& f, std::shared_ptr<StepCall> call, std::shared_ptr<Frame> frame) {
  Result<StepOutput> output = StepOutput{};
  try {
    using Value = typename std::remove_cvref_t<decltype(frame->call(f, *call))>::value_type;
    if constexpr (std::is_void_v<Value>) {
      co_await frame->call(f, *call);
    } else {
      Value value = co_await frame->call(f, *call);
      output = to_output(std::move(value), call->payload());
    }
  } catch (...) {
    output = error_of_current_exception(culprit(*call));
  }
  call->finish(std::move(output));
}

template <class F, class Frame>
void start_action(F& f, std::shared_ptr<StepCall> call, Frame&& frame, bool blocking) {
  if constexpr (is_initiation<F>) {
    using T = typename F::value_type;
    auto kept = std::make_shared<Frame>(std::move(frame));
    call->run_on(boost::asio::make_strand(call->runtime().executor()));
    InitiationHandler<T> handler(call, kept);
    try {
      kept->template initiate<T>(f.initiate, *call, handler);
    } catch (...) {
      handler(Result<T>(error_of_current_exception(culprit(*call))));
    }
  } else if constexpr (is_awaitable<std::remove_cvref_t<decltype(frame.call(f, *call))>>) {
    auto kept = std::make_shared<Frame>(std::move(frame));
    call->run_on(boost::asio::make_strand(call->runtime().executor()));
    const boost::asio::cancellation_slot slot = call->cancellation_slot();
    const boost::asio::any_io_executor executor = call->executor();
    // The slot is the call's own, and Asio touches it once more after the coroutine has let go of the call.
    auto done = [alive = call](std::exception_ptr) {};
    boost::asio::co_spawn(executor, run_coroutine(f, std::move(call), std::move(kept)),
                          boost::asio::bind_cancellation_slot(slot, std::move(done)));
  } else {
    if (!blocking && call->alone()) return run_plain(f, *call, frame);
    const auto executor = blocking ? call->runtime().blocking_executor() : call->runtime().executor();
    boost::asio::post(executor, [&f, call = std::move(call), kept = std::move(frame)] { run_plain(f, *call, kept); });
  }
}

// Decoding the arguments.

inline Error undecodable(const StepContext& context, std::string_view what, const Error& error) {
  return Error{core_errc::bad_encoding, ErrorClass::permanent,
               culprit(context) + " cannot decode " + std::string(what) + ": " + std::string(error.message())};
}

/// An action of `Input` and the non-void ones of `Results`; `void_results[i]` tells which slots to pass over.
template <class Input, class... Results, class F, std::size_t... I>
StepAction erase_action(F f, bool blocking, std::vector<std::size_t> slots, std::index_sequence<I...>) {
  return [f = std::move(f), blocking, slots = std::move(slots)](std::shared_ptr<StepCall> call,
                                                                const StepInputs& inputs) mutable {
    const PayloadRules& rules = call->payload();
    Result<Input> input = decode_payload<Input>(inputs.input, rules);
    if (!input) return call->finish(undecodable(*call, "the saga's input", input.error()));
    std::tuple<Result<Results>...> results{decode_payload<Results>(inputs.results[slots[I]], rules)...};
    const Error* fault = nullptr;
    std::optional<Error> held;
    ((!std::get<I>(results) && !held ? void(held = std::get<I>(results).error()) : void()), ...);
    if (held) fault = &*held;
    if (fault) return call->finish(undecodable(*call, "the result of a step before it", *fault));
    start_action(f, std::move(call),
                 ActionFrame<Input, Results...>{{std::move(*input), std::move(*std::get<I>(results))...}}, blocking);
  };
}

/// A compensation of `Input` and, where it takes it, the action's own result.
template <class Input, class Value, class F>
StepAction erase_undo(F f, bool blocking) {
  return [f = std::move(f), blocking](std::shared_ptr<StepCall> call, const StepInputs& inputs) mutable {
    const PayloadRules& rules = call->payload();
    Result<Input> input = decode_payload<Input>(inputs.input, rules);
    if (!input) return call->finish(undecodable(*call, "the saga's input", input.error()));
    if constexpr (undo_takes_result<F, Input, Value>) {
      std::optional<Value> own;
      if (inputs.own_result) {
        Result<Value> decoded = decode_payload<Value>(*inputs.own_result, rules);
        if (!decoded) return call->finish(undecodable(*call, "its result", decoded.error()));
        own = std::move(*decoded);
      }
      start_action(f, std::move(call), ActionFrame<Input, std::optional<Value>>{{std::move(*input), std::move(own)}},
                   blocking);
    } else {
      start_action(f, std::move(call), ActionFrame<Input>{{std::move(*input)}}, blocking);
    }
  };
}

}  // namespace aura::detail
