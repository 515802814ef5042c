// Who is let in: programs of this machine, not web pages in its browser; over TCP, those that know
// the token.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/http/exchange.h"
#include "daemon/http/limits.h"

namespace lares::daemon {

// "localhost:8000", "127.0.0.1", "[::1]:80": what a browser cannot be made to send by a name that
// resolves to this machine.
bool is_local_host(std::string_view host);
// An absent Origin is none of a page's; a local one may be a page that this machine serves.
bool is_local_origin(std::string_view origin);

enum class CameOver { unix_socket, tcp };

// Empty token: whoever reaches the socket may use it, whatever credentials they send. No name leads
// a browser to a Unix socket, so over one the Host may be any: clients write what they like there.
std::optional<HttpRefusal> refuse_access(const HttpRequest& request, std::string_view token,
                                         CameOver over);

}  // namespace lares::daemon
