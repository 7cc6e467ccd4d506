"""The descriptions in docs/api are those of a running server: requests are made from them at random, valid and not, and
every answer has to be one that they describe."""

import json
import unittest
from pathlib import Path

import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from server import TOKEN, Server, until

DOCS = Path(__file__).resolve().parents[2] / "docs/api"

# What every answer is compared with.
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

# Requests of each kind to each operation.
EXAMPLES = 12

METHODS = ("get", "put", "post", "delete", "patch")


def operations(document):
    """Every operation that a document describes: its path, its method and what it says of it."""
    described = yaml.safe_load((DOCS / document).read_text())
    for path, item in described["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


class Contract(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())

    def try_all(self, document, base_url, adapt, headers):
        schema = schemathesis.openapi.from_path(DOCS / document)
        for path, method, described in operations(document):
            takes_something = "{" in path or described.keys() & {"parameters", "requestBody"}
            # Where nothing is taken, a request can do nothing wrong.
            for mode in GenerationMode if takes_something else [GenerationMode.POSITIVE]:
                with self.subTest(operation=f"{method} {path}", mode=mode.value):
                    self.try_one(schema[path][method], mode, base_url, adapt, headers)

    def try_one(self, operation, mode, base_url, adapt, headers):
        strategy = operation.as_strategy(generation_mode=mode)

        @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def conforms(case):
            adapt(case)
            # 503 and 504 are answers to a fault of the server, and described.
            case.call_and_validate(base_url=base_url, headers=headers, checks=CHECKS, timeout=30)

        conforms()


class Http(Contract):
    def test_every_answer_of_the_public_listener_is_described(self):
        simplepush, webpush = self.server.simplepush.endpoint(), self.server.webpush.endpoint()
        number = 0

        def adapt(case):
            """Half of the requests are for endpoints that exist."""
            nonlocal number
            number += 1
            if number % 2 == 0 and "token" in (case.path_parameters or {}):
                endpoint = simplepush if case.path.startswith("/update") else webpush
                case.path_parameters["token"] = endpoint.rsplit("/", 1)[1]

        self.try_all("http.yaml", self.server.http, adapt, {})

    def test_a_message_is_accepted_and_cancelled_as_described(self):
        schema = schemathesis.openapi.from_path(DOCS / "http.yaml")
        token = self.server.webpush.endpoint().rsplit("/", 1)[1]
        path = "/wpush/v1/{token}"
        case = schema[path]["post"].Case(path_parameters={"token": token}, headers={"TTL": "60"})
        answer = case.call_and_validate(base_url=self.server.http, checks=CHECKS)
        self.assertEqual(answer.status_code, 201)
        identifier = answer.headers["location"][0].rsplit("/", 1)[1]
        case = schema["/m/{id}"]["delete"].Case(path_parameters={"id": identifier})
        self.assertEqual(case.call_and_validate(base_url=self.server.http, checks=CHECKS).status_code, 204)


class Admin(Contract):
    HEADERS = {"Authorization": f"Bearer {TOKEN}"}

    def test_every_answer_of_the_admin_listener_is_described(self):
        number = 0

        def adapt(case):
            """Half of the requests are about the node and a client that exist, and the node is taken back from its drains."""
            nonlocal number
            number += 1
            if case.path in ("/drain", "/api/nodes/drain"):
                self.server.ask("POST", "/undrain")
            if number % 2 != 0 or not isinstance(case.body, dict):
                return
            if case.path.startswith("/api/nodes/"):
                case.body["node"] = "standalone"
            if case.path.startswith("/api/client/"):
                case.body = {"endpoint": self.server.simplepush.endpoint()}

        self.try_all("admin.yaml", self.server.admin, adapt, self.HEADERS)
        self.server.ask("POST", "/undrain")

    def test_every_operation_succeeds_once(self):
        """Answers that requests at random may not come across."""
        schema = schemathesis.openapi.from_path(DOCS / "admin.yaml")
        until("the device is connected", lambda: self.server.client() and self.state() == "connected")
        client = self.server.client()
        bodies = {
            "/api/session": {"token": TOKEN},
            "/api/nodes/drain": {"node": "standalone"},
            "/api/nodes/undrain": {"node": "standalone"},
            "/api/nodes/shed": {"node": "standalone", "share": 0},
            "/api/broadcasts/set": {"id": "api/test", "version": "1"},
            "/api/broadcasts/remove": {"id": "api/test"},
            "/api/client/find": {"client": client},
            "/api/client/test": {"client": client},
            "/api/client/disconnect": {"client": client},
            "/api/client/forget": {"client": client},
            "/api/client/block": {"client": client},
            "/api/client/unblock": {"client": client},
            "/broadcasts/{id}": "1",
        }
        for path, method, described in operations("admin.yaml"):
            with self.subTest(operation=f"{method} {path}"):
                fields = {}
                if "requestBody" in described:
                    kind = "text/plain" if path == "/broadcasts/{id}" else "application/json"
                    fields |= {"body": bodies[path], "media_type": kind}
                if "{id}" in path:
                    fields["path_parameters"] = {"id": "other-test"}
                if path == "/shed":
                    fields["query"] = {"count": 0}
                if path == "/api/client/disconnect":
                    until("the device is connected", lambda: self.state(client) == "connected")
                case = schema[path][method].Case(**fields)
                answer = case.call_and_validate(base_url=self.server.admin, headers=self.HEADERS, checks=CHECKS)
                # Nothing is configured to hand over to, and a token is no session.
                expected = {"/hand-over": (409,), "/api/session": (200, 204, 404)}.get(path, (200, 202, 204))
                self.assertIn(answer.status_code, expected)
                if path in ("/drain", "/api/nodes/drain"):
                    self.server.ask("POST", "/undrain")

    def state(self, client=None):
        named = {"client": client} if client else {"endpoint": self.server.simplepush.endpoint()}
        return json.loads(self.server.ask("POST", "/api/client/find", named)[2])["state"]

    def test_only_described_methods_are_answered(self):
        paths = {}
        for path, method, _ in operations("admin.yaml"):
            paths.setdefault(path, set()).add(method)
        for path, described in paths.items():
            for method in METHODS:
                if method not in described:
                    status, headers, _ = self.server.ask(method.upper(), path.replace("{id}", "x"))
                    with self.subTest(request=f"{method} {path}"):
                        self.assertEqual(status, 405)
                        allowed = {each.lower() for each in headers["Allow"].split(", ")} - {"head"}
                        self.assertEqual(allowed, described)

    def test_everything_but_health_is_refused_without_a_token(self):
        """As from another host, which a proxy names."""
        elsewhere = {"X-Forwarded-For": "192.0.2.1"}
        for path, method, described in operations("admin.yaml"):
            status, headers, body = self.server.ask(method.upper(), path.replace("{id}", "x"), None, None, elsewhere)
            with self.subTest(operation=f"{method} {path}"):
                if described.get("security") == []:
                    self.assertNotIn(status, (401, 403))
                else:
                    self.assertEqual((status, headers["WWW-Authenticate"]), (401, "Bearer"))
                    self.assertEqual(json.loads(body)["code"], 401)


if __name__ == "__main__":
    unittest.main()
