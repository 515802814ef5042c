// HTTP handlers that a test plays with: answers of any size and speed, and of every kind of
// failure.
#pragma once

#include "daemon/http/router.h"

namespace lares::daemon {

// GET  /test/stream?n=N&ms=M&bytes=B  N events M milliseconds apart, each of about B bytes; the
//                                     last one is "done", or "cut" when it is gone
// GET  /test/forever                  nothing, until it is gone; then "cut"
// GET  /test/gone                     how many of those above ended because they were gone
// GET  /test/slow?ms=M                a whole answer after that time
// GET  /test/bytes?n=N                a whole answer of that size
// POST /test/echo                     what came: {"bytes", "sum"}, with a checksum
// GET  /test/none, /test/throw, /test/stop, /test/long/throw   no answer; an exception, before,
//          during and instead of one
// HEAD /test/stream, ...
void add_test_routes(Router& router);

}  // namespace lares::daemon
