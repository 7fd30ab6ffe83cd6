// One after another, without a hop and without a lock: what a strand's dispatch does, in eight bytes.
#pragma once

#include <atomic>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// Runs what it is given at once where nothing else of it runs, and otherwise leaves it to whoever is inside: so no two
/// run at the same time, they run in the order they came, and nobody waits. Callers are on an executor's thread already;
/// they, and what they hand over, must keep the serializer alive and must not throw. May be shared between threads.
///
/// A list that is taken as a whole: null is idle, the address of `busy_` is busy with nothing left, else tasks, the last
/// one first, ending in that address.
class Serializer {
 public:
  Serializer() = default;
  Serializer(const Serializer&) = delete;
  Serializer& operator=(const Serializer&) = delete;

  /// Runs `now()`, or keeps what `later()` returns for whoever is inside: a task that owns what it needs.
  template <class Now, class Later>
  void enter(Now&& now, Later&& later) {
    Task* idle = nullptr;
    if (left_.compare_exchange_strong(idle, busy(), std::memory_order_acquire)) {
      now();
      return run_what_is_left();
    }
    Task* const task = new Model<std::invoke_result_t<Later&>>(later());
    for (Task* head = left_.load(std::memory_order_relaxed);;) {
      if (head == nullptr) {  // whoever was inside has gone
        if (!left_.compare_exchange_weak(head, busy(), std::memory_order_acquire)) continue;
        task->run();
        delete task;
        return run_what_is_left();
      }
      task->next = head;
      if (left_.compare_exchange_weak(head, task, std::memory_order_release, std::memory_order_relaxed)) return;
    }
  }

 private:
  struct Task {
    virtual ~Task() = default;
    virtual void run() = 0;
    Task* next = nullptr;
  };
  template <class F>
  struct Model final : Task {
    explicit Model(F work) : f(std::move(work)) {}
    void run() override { f(); }
    F f;
  };
  struct Nothing final : Task {
    void run() override {}
  };

  static Task* busy() noexcept {
    static Nothing mark;
    return &mark;
  }

  /// Whatever a task is, it may hold the last reference to what owns this: so the tasks taken together are held until
  /// the next round has begun, and after the last exchange nothing here is touched.
  void run_what_is_left() {
    for (Task* done = nullptr;;) {
      Task* expected = busy();
      const bool idle =
          left_.compare_exchange_strong(expected, nullptr, std::memory_order_release, std::memory_order_relaxed);
      Task* const taken = idle ? nullptr : left_.exchange(busy(), std::memory_order_acquire);
      while (done != nullptr) delete std::exchange(done, done->next);
      if (idle) return;
      done = in_order(taken);
      for (Task* task = done; task != nullptr; task = task->next) task->run();
    }
  }

  static Task* in_order(Task* last) noexcept {
    Task* first = nullptr;
    while (last != busy()) {
      Task* const before = last->next;
      last->next = first;
      first = last;
      last = before;
    }
    return first;
  }

  std::atomic<Task*> left_{nullptr};
};

}  // namespace aura::detail
