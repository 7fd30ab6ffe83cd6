// Who is told what happened: typed events, at no cost where nobody listens.
#pragma once

#include <functional>
#include <tuple>
#include <utility>

namespace aura {

/// The default observer: every notification of it compiles to nothing.
struct NullObserver {};

/// Tells `observer` of `event` where it has an overload for that event, and compiles to nothing where it has none.
/// An observer is called on whatever thread the event happened; it must not throw and should not block.
template <class Observer, class Event>
constexpr void notify(Observer& observer, const Event& event) noexcept {
  if constexpr (requires { observer(event); }) observer(event);
}

/// True where a notification does anything, so that an event need not even be built.
template <class Observer, class Event>
inline constexpr bool observes = requires(Observer& observer, const Event& event) { observer(event); };

/// For those who choose their observer at run time: one optional callback for each event.
///
///     aura::AnyObserver<StepFinished, RunEnded> observer;
///     observer.on<RunEnded>([](const RunEnded& event) { … });
template <class... Events>
class AnyObserver {
 public:
  template <class Event>
  void on(std::function<void(const Event&)> callback) {
    std::get<std::function<void(const Event&)>>(callbacks_) = std::move(callback);
  }

  template <class Event>
    requires(std::is_same_v<Event, Events> || ...)
  void operator()(const Event& event) const {
    if (const auto& callback = std::get<std::function<void(const Event&)>>(callbacks_)) callback(event);
  }

 private:
  std::tuple<std::function<void(const Events&)>...> callbacks_;
};

}  // namespace aura
