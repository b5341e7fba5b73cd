{
  description = "synapse-ts, a Matrix homeserver in one executable";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      forAll = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      # Run from the sources by nixpkgs' own Deno, with the packages that package-lock.json pins.
      packages = forAll (pkgs: {
        default = pkgs.buildNpmPackage {
          pname = "synapse-ts";
          version = "0.1.0";
          src = ../../..;
          # importNpmLock reads the hashes of package-lock.json, so there is none to keep here.
          npmDeps = pkgs.importNpmLock { npmRoot = ../../..; };
          npmConfigHook = pkgs.importNpmLock.npmConfigHook;
          npmFlags = [ "--omit=dev" "--ignore-scripts" ];
          dontNpmBuild = true;
          nativeBuildInputs = [ pkgs.makeWrapper ];
          installPhase = ''
            mkdir -p $out/share/synapse-ts $out/bin
            cp -r main.ts deno.json package.json src migrations node_modules $out/share/synapse-ts
            makeWrapper ${pkgs.deno}/bin/deno $out/bin/synapse-ts --add-flags \
              "run --no-check --allow-net --allow-read --allow-write --allow-env --allow-sys --allow-run $out/share/synapse-ts/main.ts"
          '';
        };
      });
    };
}
