// What a runner does now and then: renew its lease, look for operators' commands, prune ended runs.
#pragma once

#include <aura/core/observer.hpp>
#include <aura/core/runtime.hpp>
#include <aura/durable/detail/saga_run.hpp>
#include <aura/durable/saga_command.hpp>
#include <aura/durable/saga_options.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace aura::detail {

/// Runs on the service's `home` strand, one round after another, until the service stops.
template <class Service>
struct SagaHousekeeping : std::enable_shared_from_this<SagaHousekeeping<Service>> {
  explicit SagaHousekeeping(std::shared_ptr<Service> owner) : service(std::move(owner)) {
    const SteadyTime now = service->world.steady_now();
    renew_at = saturating_add(now, service->options.lease_ttl / 3);
    prune_at = saturating_add(now, service->options.retention.interval);
    poll_at = service->options.command_poll > Duration::zero() ? now : SteadyTime::max();
  }

  auto self() { return this->shared_from_this(); }
  template <class F>
  auto on_home(F f) {
    return boost::asio::bind_executor(service->home, std::move(f));
  }

  void next_round() {
    if (service->stopped.load()) return;
    const SteadyTime now = service->world.steady_now();
    if (now >= renew_at) return renew();
    if (now >= poll_at) return poll();
    if (now >= prune_at) return prune();
    service->world.async_wait_until(std::min({renew_at, poll_at, prune_at}),
                                    boost::asio::bind_cancellation_slot(
                                        service->housekeeping.slot(),
                                        on_home([self = self()](boost::system::error_code) { self->next_round(); })));
  }

  void renew() {
    renew_at = saturating_add(service->world.steady_now(), service->options.lease_ttl / 3);
    const auto lease = service->lease_now();
    if (!lease) return;
    service->log.renew_lease(*lease, service->options.lease_ttl, service->world.wall_now(),
                             on_home([self = self()](Result<Lease> renewed) {
                               if (renewed)
                                 self->service->take_lease(*renewed);
                               else if (renewed.error().is(journal_errc::lease_lost))
                                 return self->service->lease_lost(renewed.error());
                               self->next_round();
                             }));
  }

  // Commands: listed, read one after another, handed to their runs.

  void poll() {
    poll_at = saturating_add(service->world.steady_now(), service->options.command_poll);
    next_commands({});
  }

  void next_commands(std::string after) {
    StreamQuery query{.kind = std::string(saga_command_kind), .open = true, .limit = 256, .after = std::move(after)};
    service->log.find(std::move(query), on_home([self = self()](Result<StreamPage> page) {
                        self->commands = page ? std::move(*page) : StreamPage{};
                        self->read_command();
                      }));
  }

  void read_command() {
    if (service->stopped.load()) return;
    if (commands.streams.empty()) return commands.next.empty() ? next_round() : next_commands(commands.next);
    std::string stream = std::move(commands.streams.back().stream);
    commands.streams.pop_back();
    service->log.read(stream, 0, 1, on_home([self = self(), stream](Result<std::vector<Record>> records) {
                        if (self->service->stopped.load()) return;
                        if (records && !records->empty()) self->carry_out(stream, records->front());
                        self->read_command();
                      }));
  }

  void carry_out(const std::string& stream, const Record& record) {
    Result<SagaCommand> command = decode_saga_command(record);
    if (!command) return service->close_command(stream, "refused", std::string(command.error().message()));
    const auto run = service->find_run(command->run.str());
    if (!run) return refuse_if_ended(stream, command->run);
    const int step = run->saga->index_of(command->step);
    if (command->verb != SagaVerb::cancel && step < 0)
      return service->close_command(stream, "refused", "run " + run->id.str() + " has no step " + command->step);
    service->request(run->id, input_of(*command, static_cast<std::uint8_t>(std::max(step, 0))), stream, {});
  }

  static SagaInput input_of(SagaCommand& command, std::uint8_t step) {
    switch (command.verb) {
      case SagaVerb::retry: return SagaResolve{OperatorVerb::retry, step, std::move(command.bytes)};
      case SagaVerb::skip: return SagaResolve{OperatorVerb::skip, step, std::move(command.bytes)};
      case SagaVerb::supply: return SagaResolve{OperatorVerb::supply, step, std::move(command.bytes)};
      case SagaVerb::cancel: break;
    }
    return SagaCancel{
        Error{core_errc::cancelled, ErrorClass::cancelled, "cancelled by an operator: " + command.bytes}};
  }

  /// A run that is open elsewhere is somebody else's to answer for.
  void refuse_if_ended(const std::string& stream, const RunId& run) {
    service->log.head(saga_stream(run), on_home([self = self(), stream, run](Result<std::optional<StreamHead>> head) {
                        if (!head || (*head && (*head)->open)) return;
                        self->service->close_command(stream, "refused",
                                                     "run " + run.str() + (*head ? " has ended" : " does not exist"));
                      }));
  }

  // Retention.

  void prune() {
    const SagaRetention& rule = service->options.retention;
    prune_at = saturating_add(service->world.steady_now(), rule.interval);
    if (!rule.kept_for && !rule.kept_max) return next_round();
    Retention retention{.kind = "saga", .closed_before = {}, .closed_kept_max = rule.kept_max, .limit = rule.batch};
    if (rule.kept_for) retention.closed_before = service->world.wall_now() - *rule.kept_for;
    service->log.prune(std::move(retention), on_home([self = self()](Result<std::size_t> removed) {
                         const bool more = removed && *removed >= self->service->options.retention.batch;
                         if (more) self->prune_at = self->service->world.steady_now();
                         self->next_round();
                       }));
  }

  std::shared_ptr<Service> service;
  SteadyTime renew_at, poll_at, prune_at;
  StreamPage commands;
};

}  // namespace aura::detail
