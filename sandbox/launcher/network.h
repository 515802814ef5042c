// The namespace's network: loopback alone, and with allowed hosts a listener there that the daemon
// answers.
#pragma once

namespace lares::sandbox::launcher {

// The sandbox's own, and one that resolves without a network: Java among others asks for the
// address of the host that it runs on, and gives up.
inline constexpr const char* kHostName = "localhost";

void loopback_up();
// Listens on 127.0.0.1:kProxyPort and sends the socket over the control socket: it stays in this
// namespace, whoever accepts from it.
void hand_out_listener();

}  // namespace lares::sandbox::launcher
