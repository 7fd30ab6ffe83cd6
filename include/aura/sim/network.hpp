// A network that delays, loses, doubles, reorders and parts, as a seed or a test says.
#pragma once

#include <aura/core/result.hpp>
#include <aura/sim/latency.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/post.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace aura::sim {

/// Codes of the domain "sim.network".
enum class network_errc : std::int32_t {
  too_large = 1,  ///< larger than the largest datagram (permanent)
  down = 2,       ///< this node has crashed (transient)
  cancelled = 3,  ///< the receive was cancelled (cancelled)
  busy = 4,       ///< a receive waits already (rejected)
};
constexpr std::string_view error_domain(network_errc) noexcept { return "sim.network"; }

enum class NodeId : std::uint32_t {};

struct Datagram {
  NodeId from{}, to{};
  std::string bytes{};

  friend bool operator==(const Datagram&, const Datagram&) = default;
};

/// One direction between two nodes. Every datagram's fate is drawn by itself, so a latency that varies reorders too.
struct LinkOptions {
  Latency latency = constant_latency(std::chrono::milliseconds(1));
  double loss = 0;         ///< the probability that a datagram, or its double, does not arrive
  double duplication = 0;  ///< the probability that it arrives twice
  double reordering =
      0;   ///< the probability that it is held back by up to `held_back_max`, so that others overtake it
  Duration held_back_max = std::chrono::milliseconds(10);
};

struct NetworkOptions {
  LinkOptions link{};                         ///< of every pair of nodes that has none of its own
  std::size_t largest_datagram = 1200;        ///< bytes: what passes any path of the internet unfragmented
  std::size_t inbox_max = 1024;               ///< datagrams that wait at one node; more are dropped on arrival
  std::size_t in_flight_max = 1'000'000;      ///< in the whole network; more are dropped when sent
};

/// What became of datagrams. sent + doubled == arrived + lost + cut + unreachable + overflowed + those in flight.
struct NetworkCounters {
  std::uint64_t sent = 0;
  std::uint64_t doubled = 0;
  std::uint64_t arrived = 0;
  std::uint64_t lost = 0;
  std::uint64_t cut = 0;          ///< sent or arrived while a cut or a partition was between them
  std::uint64_t unreachable = 0;  ///< for a node that is down or that nobody ever joined as
  std::uint64_t overflowed = 0;   ///< the inbox or the network was full

  friend bool operator==(const NetworkCounters&, const NetworkCounters&) = default;
};

/// Datagrams between the nodes of one simulated world. Draws from a random stream for each link, so that more traffic
/// on one changes nothing on the others. Single-threaded, as its runtime is, which must outlive it.
///
///     aura::sim::Network network(world, {.link = {.latency = aura::sim::constant_latency(2ms), .loss = 0.01}});
///     auto one = network.join(aura::sim::NodeId{1});
///     one.send(aura::sim::NodeId{2}, "ping");
class Network {
 public:
  using Options = NetworkOptions;
  using ReceiveHandler = boost::asio::any_completion_handler<void(Result<Datagram>)>;

  /// One node's place in the network. A handle: copy it freely, and not beyond the network's life.
  class Endpoint {
   public:
    NodeId id() const noexcept { return id_; }
    std::size_t largest_datagram() const noexcept { return network_->options_.largest_datagram; }

    /// Success says nothing about its arrival. Errors: too_large, down.
    Result<void> send(NodeId to, std::string bytes) const { return network_->send(id_, to, std::move(bytes)); }

    /// The next datagram, in order of arrival. Signature void(Result<Datagram>). One receive at a time: a second
    /// gives `busy`. Errors: `cancelled` by any type of cancellation, `down` where the node crashes. No datagram is
    /// lost by a cancellation.
    template <boost::asio::completion_token_for<void(Result<Datagram>)> Token>
    auto async_receive(Token&& token) const {
      return boost::asio::async_initiate<Token, void(Result<Datagram>)>(
          [network = network_, id = id_](auto handler) { network->receive(id, ReceiveHandler(std::move(handler))); },
          token);
    }

   private:
    friend class Network;
    Endpoint(Network& network, NodeId id) noexcept : network_(&network), id_(id) {}
    Network* network_;
    NodeId id_;
  };

  explicit Network(Runtime& world, Options options = {}) : world_(world), options_(std::move(options)) {}
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Makes the node where it is not there. A node that had crashed is up again, with an empty inbox.
  Endpoint join(NodeId id);

  /// The node forgets what waited for it, its receive ends with `down`, and it neither sends nor receives until it
  /// joins again. What is on its way then reaches whoever joins under its name.
  void crash(NodeId id);

  void set_default_link(LinkOptions options) { options_.link = std::move(options); }
  void set_link(NodeId from, NodeId to, LinkOptions options) { link(from, to).own = std::move(options); }

  /// Nothing gets from the one to the other, not even what is on its way; the other direction stays.
  void cut(NodeId from, NodeId to) { cuts_.emplace(from, to); }
  void mend(NodeId from, NodeId to) { cuts_.erase({from, to}); }
  /// Nodes of different groups do not reach one another. Those in no group form one more together.
  void partition(const std::vector<std::vector<NodeId>>& groups);
  /// Ends the partition and every cut.
  void heal();

  /// Sees each datagram as it is sent and may change its bytes, as a Byzantine peer would, or drop it by returning
  /// false, which counts as lost.
  void on_send(std::function<bool(Datagram&)> hook) { hook_ = std::move(hook); }

  const NetworkCounters& counters() const noexcept { return counters_; }
  std::size_t in_flight() const noexcept { return in_flight_; }

 private:
  struct Node {
    bool up = true;
    std::deque<Datagram> inbox;
    std::unique_ptr<ReceiveHandler> receiver;
    std::uint64_t receives = 0;  // numbers them, so that a late cancellation finds its own gone
  };
  struct Link {
    Random dice;
    std::optional<LinkOptions> own{};
  };

  Result<void> send(NodeId from, NodeId to, std::string bytes);
  void fly(Link& link, const LinkOptions& options, Datagram datagram);
  void arrive(Datagram datagram);
  void receive(NodeId id, ReceiveHandler handler);
  void cancel_receive(NodeId id, std::uint64_t number);
  void complete(std::unique_ptr<ReceiveHandler> handler, Result<Datagram> result);
  bool parted(NodeId from, NodeId to) const;
  Link& link(NodeId from, NodeId to);

  Runtime& world_;
  Options options_;
  std::map<NodeId, Node> nodes_;
  std::map<std::pair<NodeId, NodeId>, Link> links_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::map<NodeId, std::size_t> groups_;
  std::function<bool(Datagram&)> hook_;
  NetworkCounters counters_;
  std::size_t in_flight_ = 0;
  std::shared_ptr<Network*> self_ = std::make_shared<Network*>(this);  // what is on its way may outlive the network
};

inline Network::Endpoint Network::join(NodeId id) {
  nodes_[id].up = true;
  return {*this, id};
}

inline void Network::crash(NodeId id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  node.up = false;
  node.inbox.clear();
  if (node.receiver)
    complete(std::move(node.receiver),
             Error::fixed(network_errc::down, ErrorClass::transient, "the node has crashed"));
}

inline void Network::partition(const std::vector<std::vector<NodeId>>& groups) {
  groups_.clear();
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (const NodeId id : groups[i]) groups_[id] = i + 1;
}

inline void Network::heal() {
  groups_.clear();
  cuts_.clear();
}

inline bool Network::parted(NodeId from, NodeId to) const {
  const auto group = [this](NodeId id) {
    const auto found = groups_.find(id);
    return found == groups_.end() ? std::size_t{0} : found->second;
  };
  return cuts_.contains({from, to}) || group(from) != group(to);
}

inline Network::Link& Network::link(NodeId from, NodeId to) {
  const auto found = links_.find({from, to});
  if (found != links_.end()) return found->second;
  const std::string name = "aura.sim.network/" + std::to_string(static_cast<std::uint32_t>(from)) + "/" +
                           std::to_string(static_cast<std::uint32_t>(to));
  return links_.emplace(std::pair(from, to), Link{world_.random(name)}).first->second;
}

inline Result<void> Network::send(NodeId from, NodeId to, std::string bytes) {
  if (bytes.size() > options_.largest_datagram)
    return Error{network_errc::too_large, ErrorClass::permanent,
                 "a datagram of " + std::to_string(bytes.size()) + " bytes, and the largest is " +
                     std::to_string(options_.largest_datagram)};
  if (!nodes_.at(from).up)
    return Error::fixed(network_errc::down, ErrorClass::transient, "the sending node has crashed");

  Datagram datagram{from, to, std::move(bytes)};
  ++counters_.sent;
  if (hook_ && !hook_(datagram)) {
    ++counters_.lost;
    return {};
  }
  Link& way = link(from, to);
  const LinkOptions& options = way.own ? *way.own : options_.link;
  if (way.dice.chance(options.duplication)) {
    ++counters_.doubled;
    fly(way, options, datagram);
  }
  fly(way, options, std::move(datagram));
  return {};
}

/// Draws the same number of times whatever becomes of the datagram, so that a cut changes no later fate.
inline void Network::fly(Link& way, const LinkOptions& options, Datagram datagram) {
  const bool lost = way.dice.chance(options.loss);
  const bool held_back = way.dice.chance(options.reordering);
  const double held = way.dice.uniform();
  Duration latency = options.latency ? options.latency(way.dice) : Duration::zero();
  if (held_back)
    latency += Duration(static_cast<Duration::rep>(held * static_cast<double>(options.held_back_max.count())));

  if (parted(datagram.from, datagram.to)) {
    ++counters_.cut;
  } else if (lost) {
    ++counters_.lost;
  } else if (in_flight_ >= options_.in_flight_max) {
    ++counters_.overflowed;
  } else {
    ++in_flight_;
    world_.async_wait_for(
        latency, [self = std::weak_ptr(self_), arriving = std::move(datagram)](boost::system::error_code) mutable {
          if (const auto network = self.lock()) (*network)->arrive(std::move(arriving));
        });
  }
}

inline void Network::arrive(Datagram datagram) {
  --in_flight_;
  if (parted(datagram.from, datagram.to)) {
    ++counters_.cut;
    return;
  }
  const auto found = nodes_.find(datagram.to);
  if (found == nodes_.end() || !found->second.up) {
    ++counters_.unreachable;
    return;
  }
  Node& node = found->second;
  if (node.inbox.size() >= options_.inbox_max) {
    ++counters_.overflowed;
    return;
  }
  ++counters_.arrived;
  if (node.receiver)
    complete(std::move(node.receiver), std::move(datagram));
  else
    node.inbox.push_back(std::move(datagram));
}

inline void Network::receive(NodeId id, ReceiveHandler handler) {
  Node& node = nodes_.at(id);
  auto receiver = std::make_unique<ReceiveHandler>(std::move(handler));
  if (!node.up)
    return complete(std::move(receiver),
                    Error::fixed(network_errc::down, ErrorClass::transient, "the node has crashed"));
  if (node.receiver)
    return complete(std::move(receiver),
                    Error::fixed(network_errc::busy, ErrorClass::rejected, "this node waits for a datagram already"));
  if (!node.inbox.empty()) {
    Datagram next = std::move(node.inbox.front());
    node.inbox.pop_front();
    return complete(std::move(receiver), std::move(next));
  }
  const std::uint64_t number = ++node.receives;
  auto slot = boost::asio::get_associated_cancellation_slot(*receiver);
  node.receiver = std::move(receiver);
  if (slot.is_connected())
    slot.assign([self = std::weak_ptr(self_), id, number](boost::asio::cancellation_type) {
      if (const auto network = self.lock()) (*network)->cancel_receive(id, number);
    });
}

inline void Network::cancel_receive(NodeId id, std::uint64_t number) {
  Node& node = nodes_.at(id);
  if (node.receiver && node.receives == number)
    complete(std::move(node.receiver),
             Error::fixed(network_errc::cancelled, ErrorClass::cancelled, "the receive was cancelled"));
}

inline void Network::complete(std::unique_ptr<ReceiveHandler> handler, Result<Datagram> result) {
  const auto executor = boost::asio::get_associated_executor(*handler, world_.executor());
  // First a post, so that it is not inside its initiation: the handler's own erased executor can't promise that.
  boost::asio::post(world_, [executor, held = std::move(handler), result = std::move(result)]() mutable {
    boost::asio::dispatch(executor, [receiver = std::move(*held), result = std::move(result)]() mutable {
      std::move(receiver)(std::move(result));
    });
  });
}

}  // namespace aura::sim
