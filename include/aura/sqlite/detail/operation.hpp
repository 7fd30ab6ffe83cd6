// One asynchronous operation that waits for its turn on a lane, and how it ends exactly once.
#pragma once

#include <aura/core/result.hpp>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/require.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace aura::sqlite::detail {

/// As a lane sees it. Either the lane takes it, or a cancellation does; who took it gives it a result and delivers it.
template <class Machine>
class Operation : public std::enable_shared_from_this<Operation<Machine>> {
 public:
  virtual ~Operation() = default;
  virtual void run(Machine& machine) = 0;  ///< leaves a result
  virtual void fail(const Error& error) = 0;  ///< replaces the result
  /// Hands the result to the handler's executor; never in an initiation. `home` is the lane's, and never blocks.
  virtual void deliver(const boost::asio::any_io_executor& home) = 0;

  bool take() noexcept { return !taken_.exchange(true, std::memory_order_acq_rel); }

  std::size_t bytes = 0;  ///< what it holds while it waits, roughly

 private:
  std::atomic<bool> taken_ = false;
};

template <class Machine>
using Operations = std::vector<std::shared_ptr<Operation<Machine>>>;

/// One post for a whole group: the thread that writes is not kept busy with waking others.
template <class Machine>
void post_deliveries(const boost::asio::any_io_executor& executor, Operations<Machine> operations) {
  struct Deliveries {
    boost::asio::any_io_executor executor;  ///< never blocks, so that each delivery need not ask for that
    Operations<Machine> operations;
    std::size_t next = 0;

    void operator()() try {
      while (next < operations.size()) operations[next++]->deliver(executor);
    } catch (...) {  // a handler threw: that is its executor's affair, and the others still get theirs
      const boost::asio::any_io_executor again = executor;
      if (next < operations.size()) boost::asio::post(again, std::move(*this));
      throw;
    }
  };
  if (operations.empty()) return;
  auto posting = boost::asio::require(executor, boost::asio::execution::blocking.never);
  boost::asio::post(executor, Deliveries{std::move(posting), std::move(operations)});
}

/// `Work` is called with the machine and gives a `Result<T>`.
template <class Machine, class T, class Work>
class OperationOf final : public Operation<Machine> {
 public:
  using Handler = boost::asio::any_completion_handler<void(Result<T>)>;

  /// The handler's executor has outstanding work as long as this lives.
  template <class ConcreteHandler>
  OperationOf(boost::asio::any_io_executor fallback, ConcreteHandler handler, Work work)
      : executor_(executor_of(handler, fallback)),
        fallback_(std::move(fallback)),
        slot_(boost::asio::get_associated_cancellation_slot(handler)),
        handler_(std::move(handler)),
        work_(std::move(work)) {}

  void run(Machine& machine) override { set_result(work_(machine)); }
  void fail(const Error& error) override { set_result(error); }
  void set_result(Result<T> result) { result_.emplace(std::move(result)); }

  /// From the fallback executor. Posts where that is possible: handlers may then run beside each other.
  void deliver(const boost::asio::any_io_executor& home) override {
    auto self = std::static_pointer_cast<OperationOf>(this->shared_from_this());
    // Out of this, or the work it stands for would keep itself alive.
    const auto executor = std::move(executor_);
    if (std::holds_alternative<Home>(executor))
      home.execute(Delivery{std::move(self)});
    else if (const auto* known = std::get_if<boost::asio::any_io_executor>(&executor))
      boost::asio::post(*known, Delivery{std::move(self)});
    else
      std::get<boost::asio::any_completion_executor>(executor).execute(Delivery{std::move(self)});
  }

  /// In the initiation, before the lane may take it: slots are not thread-safe, so nobody but the initiation, the
  /// emitting caller and the delivery, which all run where the handler does, ever touch it.
  void connect_slot() {
    if (!slot_.is_connected()) return;
    slot_.template emplace<Cancel>(
        std::weak_ptr<OperationOf>(std::static_pointer_cast<OperationOf>(this->shared_from_this())));
  }

 private:
  struct Home {
    boost::asio::any_io_executor work;
  };
  using Executor = std::variant<Home, boost::asio::any_io_executor, boost::asio::any_completion_executor>;

  template <class ConcreteHandler>
  static Executor executor_of(const ConcreteHandler& handler, const boost::asio::any_io_executor& fallback) {
    auto executor = boost::asio::get_associated_executor(handler, fallback);
    const auto tracked = boost::asio::execution::outstanding_work.tracked;
    // An any_completion_handler's own executor cannot be posted to, only asked to execute.
    if constexpr (std::same_as<decltype(executor), boost::asio::any_completion_executor>)
      return boost::asio::prefer(executor, tracked);
    else if (const boost::asio::any_io_executor known(std::move(executor)); known == fallback)
      return Home{boost::asio::prefer(known, tracked)};
    else
      return boost::asio::prefer(known, tracked);
  }

  void cancel() {
    if (!this->take()) return;
    set_result(
        Error::fixed(core_errc::cancelled, ErrorClass::cancelled, "the operation was cancelled before it began"));
    post_deliveries<Machine>(fallback_, {this->shared_from_this()});
  }

  struct Cancel {
    std::weak_ptr<OperationOf> waiting;
    explicit Cancel(std::weak_ptr<OperationOf> operation) : waiting(std::move(operation)) {}
    void operator()(boost::asio::cancellation_type_t type) const {
      if (type == boost::asio::cancellation_type::none) return;
      if (const auto operation = waiting.lock()) operation->cancel();
    }
  };

  struct Delivery {
    std::shared_ptr<OperationOf> operation;
    void operator()() {
      auto self = std::move(operation);
      if (self->slot_.is_connected()) self->slot_.clear();
      // Constructed anew: Boost 1.81's any_completion_handler does not survive being assigned to.
      Handler handler(std::move(self->handler_));
      Result<T> result(std::move(*self->result_));
      self.reset();
      std::move(handler)(std::move(result));
    }
  };

  Executor executor_;
  boost::asio::any_io_executor fallback_;
  boost::asio::cancellation_slot slot_;
  Handler handler_;
  Work work_;
  std::optional<Result<T>> result_;
};

}  // namespace aura::sqlite::detail
