// Taking up open runs after a start.
#pragma once

#include <aura/durable/detail/saga_service.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace aura::detail {

/// One call of `recover`: a lease, then page after page of open runs, claimed and read with bounded concurrency.
template <class Service>
struct SagaRecoveryTask : std::enable_shared_from_this<SagaRecoveryTask<Service>> {
  SagaRecoveryTask(std::shared_ptr<Service> owner, PendingHandler<Result<SagaRecovery>> answer)
      : service(std::move(owner)), reply(std::move(answer)) {}

  auto self() { return this->shared_from_this(); }
  template <class F>
  auto on_home(F f) {
    return boost::asio::bind_executor(service->home, std::move(f));
  }

  void begin() {
    if (service->stopped.load()) return fail(stopped_error());
    if (service->lease_now()) return next_page();
    service->log.acquire_lease(service->options.holder, service->options.lease_ttl, service->world.wall_now(),
                               on_home([self = self()](Result<Lease> lease) {
                                 if (!lease) return self->fail(lease.error());
                                 self->service->take_lease(*lease);
                                 self->service->keep_house();
                                 self->next_page();
                               }));
  }

  void next_page() {
    if (service->stopped.load()) return fail(stopped_error());
    StreamQuery query{.kind = "saga", .open = true, .limit = 1000, .after = after};
    service->log.find(std::move(query), on_home([self = self()](Result<StreamPage> page) {
                        if (!page) return self->fail(page.error());
                        self->claim(std::move(*page));
                      }));
  }

  void claim(StreamPage page) {
    if (service->stopped.load()) return fail(stopped_error());
    after = std::move(page.next);
    std::vector<std::string> wanted;
    were_held.clear();
    for (const StreamHead& head : page.streams) {
      if (service->find_run(std::string_view(head.stream).substr(sizeof("saga/") - 1))) continue;
      if (head.state == "held") were_held.insert(head.stream);
      wanted.push_back(head.stream);
    }
    if (wanted.empty()) return page_done();
    const std::size_t asked = wanted.size();
    const auto lease = service->lease_now();
    if (!lease) return fail(Error{journal_errc::lease_lost, ErrorClass::permanent, "the lease was lost"});
    service->log.claim(*lease, std::move(wanted), service->world.wall_now(),
                       on_home([self = self(), asked](Result<std::vector<ClaimedStream>> claimed) {
                         if (!claimed) return self->fail(claimed.error());
                         self->found.elsewhere += asked - claimed->size();
                         self->streams = std::move(*claimed);
                         self->taken = self->loading = 0;
                         self->load_more();
                       }));
  }

  void load_more() {
    if (service->stopped.load()) return fail(stopped_error());
    while (loading < service->options.recover_concurrency && taken < streams.size()) {
      ++loading;
      const ClaimedStream claimed = streams[taken++];
      load_history(service->log, service->home, claimed.stream, service->stopped,
                   [self = self(), claimed](Result<std::vector<Record>> records) {
                     self->loaded(claimed, std::move(records));
                   });
    }
    if (loading == 0) page_done();
  }

  void loaded(const ClaimedStream& claimed, Result<std::vector<Record>> records) {
    --loading;
    if (service->stopped.load()) return fail(stopped_error());
    const auto id = RunId::parse(std::string_view(claimed.stream).substr(sizeof("saga/") - 1));
    if (!records || !id)
      hold(claimed, records ? id.error() : records.error());
    else if (Result<LoadedRun> run = service->build(*id, *records); !run)
      hold(claimed, run.error());
    else
      resume(*id, claimed, std::move(*run), records->size());
    load_more();
  }

  void resume(const RunId& id, const ClaimedStream& claimed, LoadedRun loaded_run, std::size_t version) {
    const auto prepare = [&](auto& made) {
      made.state = std::move(loaded_run.state);
      made.trace = loaded_run.trace;
      made.version = version;
      made.token = claimed.token;
      if (made.state.deadline != WallTime::max())
        made.expires = saturating_add(service->world.steady_now(),
                                      std::max(Duration::zero(), made.state.deadline - service->world.wall_now()));
    };
    constexpr std::size_t no_bound = static_cast<std::size_t>(-1);  // they are open, whatever the options say now
    auto [run, is_new] = service->enter(id, loaded_run.saga, no_bound, prepare);
    if (!run || !is_new) return;
    ++found.resumed;
    run->post([service = service, was_held = were_held.contains(claimed.stream)](const auto& entered) {
      if (entered->dropped) return;
      if (was_held) service->show(entered);
      service->push(entered, RunInput{.input = SagaResumed{}});
      if (!entered->dropped) service->reschedule(entered);
    });
  }

  /// Visible by index, and in nobody's way.
  void hold(const ClaimedStream& claimed, const Error& error) {
    ++found.held;
    notify(service->observer, RunHeld{std::string_view(claimed.stream).substr(sizeof("saga/") - 1), error});
    Batch batch;
    batch.appends.push_back({.stream = claimed.stream, .expected_version = claimed.version, .token = claimed.token});
    batch.appends.back().index = StreamIndex{.state = "held"};
    service->log.commit(std::move(batch), boost::asio::bind_executor(service->executor, [](Result<void>) {}));
  }

  void page_done() {
    if (service->stopped.load()) return fail(stopped_error());
    if (!after.empty()) return next_page();
    reply.answer(found);
  }

  void fail(const Error& error) { reply.answer(error); }
  static Error stopped_error() {
    return Error{saga_errc::draining, ErrorClass::cancelled, "the runner was stopped while it recovered"};
  }

  std::shared_ptr<Service> service;
  PendingHandler<Result<SagaRecovery>> reply;
  SagaRecovery found;
  std::string after;
  std::vector<ClaimedStream> streams;
  std::set<std::string> were_held;
  std::size_t taken = 0, loading = 0;
};

}  // namespace aura::detail
