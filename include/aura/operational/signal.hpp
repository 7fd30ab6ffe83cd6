// What a host sends to be handled soon: a key, a class, a deadline and a payload.
#pragma once

#include <aura/core/time.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace aura {

/// One signal. `Key` names what it is for (a workflow, a session): signals of one key are handled one at a time.
template <class Payload, class Key = std::string>
struct Signal {
  using payload_type = Payload;
  using key_type = Key;

  Key key{};
  std::uint8_t class_index = 2;  ///< into the router's classes; 2 is `normal` of the default ones
  std::optional<SteadyTime> deadline{};  ///< handled before it, or it does not matter any more
  Payload payload{};
  /// For deduplication: a second signal with this id is refused while the first is in the window. Text is hashed by
  /// the sender with 64 good bits: two of 65,536 ids then meet with a probability of one in 8·10⁹.
  std::optional<std::uint64_t> id{};
  std::optional<std::uint64_t> batch_key{};  ///< signals of one batch key may be handled by one call
};

}  // namespace aura
