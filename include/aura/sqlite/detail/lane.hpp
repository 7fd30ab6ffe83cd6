// A bounded queue in front of one connection: what waits together is run together, on the blocking executor.
#pragma once

#include <aura/core/journal.hpp>
#include <aura/durable/detail/journal_rules.hpp>
#include <aura/sqlite/detail/operation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace aura::sqlite::detail {

struct LaneOptions {
  std::size_t waiting_max;
  std::size_t waiting_bytes_max;
  bool gathers;  ///< for a lane where a group costs much more than its members: see `Lane`
};

/// One group at a time: while a group runs, what arrives waits for the next one. When nothing runs, an operation is
/// posted at once, so that one that waits alone waits for nobody. May be shared between threads; its jobs keep it alive.
///
/// Those who were just told tend to come again, together. A lane that gathers takes them into one group: without that,
/// many callers fall into groups that take turns, with a sync each. After a group of many, the next one begins when the
/// first of them are back, and takes in the others while it runs, so that the callers and the machine work side by side. It
/// ends once all are back, or once what the deliveries posted has run. Where it waited in vain, because the callers do not
/// run beside the machine, the next few groups begin only then. No clock is involved, and a small group never gathers.
///
/// A machine has `run(operations, more)`, which leaves a result in each; while `more()` is true, it has added operations.
template <class Machine>
class Lane : public std::enable_shared_from_this<Lane<Machine>> {
 public:
  using Waiting = std::shared_ptr<Operation<Machine>>;

  /// Deliveries start on `executor`, jobs run on `blocking`.
  Lane(boost::asio::any_io_executor executor, boost::asio::any_io_executor blocking, std::unique_ptr<Machine> machine,
       LaneOptions options)
      : executor_(std::move(executor)),
        blocking_(std::move(blocking)),
        options_(options),
        machine_(std::move(machine)) {}

  /// Completes the operation with `queue_full` or `closed` where it cannot wait.
  void submit(Waiting operation) {
    Result<void> accepted = enqueue(operation);
    if (!accepted) drop({std::move(operation)}, accepted.error());
  }

  /// Takes nothing more.
  void stop() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

  /// Takes nothing more, runs what waits, gives up the machine, and then calls `done` on the blocking executor.
  /// A later close waits for nothing: its `done` may be called before that of the first.
  void close(std::function<void()> done) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (on_closed_) return boost::asio::post(blocking_, std::move(done));
    on_closed_ = std::move(done);
    if (!busy_) post_job();
  }

  /// Takes nothing more, and completes what waits with `closed`. A group that runs is finished.
  void abandon() {
    Operations<Machine> dropped;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      dropped.swap(waiting_);
    }
    drop(std::move(dropped), aura::detail::journal_closed());
  }

  std::uint64_t groups() const noexcept { return groups_.load(std::memory_order_relaxed); }
  std::uint64_t operations() const noexcept { return operations_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t gathered_min = 8;
  static constexpr int hops = 3;  ///< a delivery, its handler, and what that posts
  static constexpr std::size_t pieces = 8;  ///< one in so many of those who are missing is enough to go on with
  static constexpr int turns_max = 200;  ///< that are given to other threads while nobody comes back
  static constexpr int reserved_max = 8;  ///< groups that begin late after one that waited in vain

  Result<void> enqueue(const Waiting& operation) {
    const std::lock_guard lock(mutex_);
    if (closed_) return aura::detail::journal_closed();
    if (waiting_.size() >= options_.waiting_max || waiting_bytes_ + operation->bytes > options_.waiting_bytes_max)
      return Error::fixed(journal_errc::queue_full, ErrorClass::rejected, "too many operations wait for the journal");
    waiting_.push_back(operation);
    waiting_bytes_ += operation->bytes;
    if (!busy_ || (gathering_ && eager_ && enough_are_back())) post_job();
    return {};
  }

  void drop(Operations<Machine> operations, const Error& error) {
    take_all(operations);
    for (const Waiting& operation : operations) operation->fail(error);
    post_deliveries<Machine>(executor_, std::move(operations));
  }

  static void take_all(Operations<Machine>& operations) {
    std::erase_if(operations, [](const Waiting& operation) { return !operation->take(); });
  }

  /// Under the lock. The job also stands for work of the executor that its deliveries go to.
  void post_job() {
    busy_ = true;
    gathering_ = false;
    boost::asio::post(blocking_,
                      [self = this->shared_from_this(),
                       work = boost::asio::prefer(executor_, boost::asio::execution::outstanding_work.tracked)] {
                        self->run_job();
                      });
  }

  void run_job() {
    Operations<Machine> group;
    if (!take_group(group)) return finish();
    if (!group.empty()) {
      machine_->run(group, [this, &group] { return take_more(group); });
      groups_.fetch_add(1, std::memory_order_relaxed);
      operations_.fetch_add(group.size(), std::memory_order_relaxed);
    }
    const std::size_t told = group.size();
    post_deliveries<Machine>(executor_, std::move(group));
    const std::lock_guard lock(mutex_);
    if (options_.gathers && told >= gathered_min && !closed_)
      gather(told);
    else
      go_on();
  }

  /// Under the lock. Posted and not looped, so that a small pool serves others between two groups.
  void go_on() {
    gathering_ = false;
    missing_ = 0;
    if (waiting_.empty() && !on_closed_)
      busy_ = false;
    else
      post_job();
  }

  /// Under the lock. The next job begins when enough are back, or at the latest once what waits on the executor that the deliveries
  /// went to has run, and what that posted.
  void gather(std::size_t told) {
    eager_ = reserved_ == 0;
    if (!eager_) --reserved_;
    if (!eager_ && waiting_.size() >= told / 2) return go_on();
    gathering_ = true;
    missing_ = told + waiting_.size();
    ++returning_;
    step_back(hops);
    if (eager_ && enough_are_back()) post_job();
  }

  void step_back(int hops_left) {
    boost::asio::post(executor_, [self = this->shared_from_this(), hops_left] {
      if (hops_left > 1) return self->step_back(hops_left - 1);
      const std::lock_guard lock(self->mutex_);
      if (--self->returning_ == 0 && self->gathering_) self->go_on();
    });
  }

  /// Under the lock. A part of those who are missing, so that few pieces make a group, and the last one is small.
  bool enough_are_back() const noexcept { return waiting_.size() >= (missing_ + pieces - 1) / pieces; }

  /// False where nothing waits but a close.
  bool take_group(Operations<Machine>& group) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty() && on_closed_) return false;
      take_waiting(group);
    }
    take_all(group);
    return true;
  }

  /// Adds to a group that runs those who came back meanwhile. False where it is complete: no more than once around, and
  /// not where nobody comes back for long.
  bool take_more(Operations<Machine>& group) {
    Operations<Machine> back;
    std::size_t seen = 0;
    for (int turns = 0; back.empty(); ++turns) {
      if (turns != 0) std::this_thread::yield();
      const std::lock_guard lock(mutex_);
      if (std::exchange(seen, waiting_.size()) != waiting_.size()) turns = 0;
      const bool in_vain = turns == turns_max, last = returning_ == 0 || closed_ || in_vain;
      if (in_vain) reserved_ = reserved_max;
      if (waiting_.empty() && last) missing_ = 0;
      if (missing_ == 0) return false;
      if (!last && !enough_are_back()) continue;
      group.reserve(group.size() + waiting_.size());  // what was taken must not be lost for want of memory
      take_waiting(back);
    }
    take_all(back);
    group.insert(group.end(), std::make_move_iterator(back.begin()), std::make_move_iterator(back.end()));
    return true;
  }

  /// Under the lock.
  void take_waiting(Operations<Machine>& group) {
    group.swap(waiting_);
    waiting_bytes_ = 0;
    missing_ -= std::min(missing_, group.size());
  }

  /// Stays busy for ever: nothing more is taken.
  void finish() {
    machine_.reset();
    on_closed_();
  }

  const boost::asio::any_io_executor executor_, blocking_;
  const LaneOptions options_;
  std::mutex mutex_;
  Operations<Machine> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::function<void()> on_closed_;
  std::size_t missing_ = 0;  ///< how many the next group may still take
  int returning_ = 0;  ///< deliveries that may not have run yet
  int reserved_ = 0;  ///< groups that are still to begin late
  bool busy_ = false, gathering_ = false, eager_ = true, closed_ = false;
  std::atomic<std::uint64_t> groups_ = 0, operations_ = 0;
  std::unique_ptr<Machine> machine_;  ///< touched by the job alone
};

}  // namespace aura::sqlite::detail
