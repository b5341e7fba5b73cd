# Formula for a tap: the executables come from a release (`make release`); their checksums from its SHA256SUMS.
class SynapseTs < Formula
  desc "Matrix homeserver in one executable"
  homepage "https://matrix.org"
  version "0.1.0"
  license "Apache-2.0"

  # Where a release was put: `HOMEBREW_SYNAPSE_TS_RELEASE=https://… brew install …`
  release = ENV.fetch("HOMEBREW_SYNAPSE_TS_RELEASE", "file://#{Dir.home}/synapse-ts-#{version}")

  on_macos do
    on_arm { url "#{release}/synapse-ts-aarch64-apple-darwin" }
    on_intel { url "#{release}/synapse-ts-x86_64-apple-darwin" }
  end
  on_linux do
    on_arm { url "#{release}/synapse-ts-aarch64-unknown-linux-gnu" }
    on_intel { url "#{release}/synapse-ts-x86_64-unknown-linux-gnu" }
  end

  def install
    bin.install Dir["synapse-ts-*"].first => "synapse-ts"
  end

  service do
    run [opt_bin/"synapse-ts", "serve", "-c", etc/"synapse-ts/homeserver.yaml"]
    keep_alive true
    working_dir var/"synapse-ts"
    log_path var/"log/synapse-ts.log"
    error_log_path var/"log/synapse-ts.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/synapse-ts --version")
  end
end
