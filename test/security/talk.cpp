// One end of a DDS topic, with or without a key: what the keys of `tmrl keys` are worth to Fast DDS itself.
//   talk pub|sub <domain> <topic> <enclave folder or -> <seconds>
// Prints "refused participant", "refused endpoint", or "matched <n> received <n>".
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/dds/topic/TopicDataType.hpp>
#include <fastdds/dds/topic/TypeSupport.hpp>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>

using namespace eprosima::fastdds::dds;
using eprosima::fastrtps::rtps::InstanceHandle_t;
using eprosima::fastrtps::rtps::SerializedPayload_t;

struct Number : TopicDataType {
  Number() {
    setName("Number");
    m_typeSize = 4 + sizeof(uint32_t);
    m_isGetKeyDefined = false;
  }
  bool serialize(void* data, SerializedPayload_t* payload) override {
    const unsigned char head[4] = {0, 1, 0, 0};
    std::memcpy(payload->data, head, 4);
    std::memcpy(payload->data + 4, data, sizeof(uint32_t));
    payload->length = m_typeSize;
    return true;
  }
  bool deserialize(SerializedPayload_t* payload, void* data) override {
    std::memcpy(data, payload->data + 4, sizeof(uint32_t));
    return true;
  }
  std::function<uint32_t()> getSerializedSizeProvider(void*) override {
    return [this] { return m_typeSize; };
  }
  void* createData() override { return new uint32_t(0); }
  void deleteData(void* data) override { delete static_cast<uint32_t*>(data); }
  bool getKey(void*, InstanceHandle_t*, bool) override { return false; }
};

DomainParticipantQos with_key(const std::string& folder) {
  DomainParticipantQos qos = PARTICIPANT_QOS_DEFAULT;
  // Not through /dev/shm, where another version of Fast DDS may have left its own.
  qos.transport().use_builtin_transports = false;
  qos.transport().user_transports.push_back(
      std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>());
  if (folder == "-") return qos;
  const std::string auth = "dds.sec.auth.builtin.PKI-DH.";
  const std::string access = "dds.sec.access.builtin.Access-Permissions.";
  const auto file = [&](const char* name) { return "file://" + folder + "/" + name; };
  auto& all = qos.properties().properties();
  all.emplace_back("dds.sec.auth.plugin", "builtin.PKI-DH");
  all.emplace_back(auth + "identity_ca", file("identity_ca.cert.pem"));
  all.emplace_back(auth + "identity_certificate", file("cert.pem"));
  all.emplace_back(auth + "private_key", file("key.pem"));
  all.emplace_back("dds.sec.crypto.plugin", "builtin.AES-GCM-GMAC");
  all.emplace_back("dds.sec.access.plugin", "builtin.Access-Permissions");
  all.emplace_back(access + "permissions_ca", file("permissions_ca.cert.pem"));
  all.emplace_back(access + "governance", file("governance.p7s"));
  all.emplace_back(access + "permissions", file("permissions.p7s"));
  return qos;
}

int main(int, char** argv) {
  const bool publishes = std::string(argv[1]) == "pub";
  auto* participant = DomainParticipantFactory::get_instance()->create_participant(
      std::atoi(argv[2]), with_key(argv[4]));
  if (participant == nullptr) {
    std::cout << "refused participant" << std::endl;
    return 0;
  }
  TypeSupport type(new Number());
  type.register_type(participant);
  auto* topic = participant->create_topic(argv[3], "Number", TOPIC_QOS_DEFAULT);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[5]));
  int matched = 0, received = 0;
  if (publishes) {
    auto* writer = participant->create_publisher(PUBLISHER_QOS_DEFAULT)
                       ->create_datawriter(topic, DATAWRITER_QOS_DEFAULT);
    if (writer == nullptr) {
      std::cout << "refused endpoint" << std::endl;
      std::_Exit(0);
    }
    PublicationMatchedStatus status;
    for (uint32_t number = 0; std::chrono::steady_clock::now() < end; ++number) {
      writer->write(&number);
      writer->get_publication_matched_status(status);
      matched = std::max(matched, static_cast<int>(status.total_count));
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  } else {
    DataReaderQos qos = DATAREADER_QOS_DEFAULT;
    qos.reliability().kind = RELIABLE_RELIABILITY_QOS;
    auto* reader = participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT)
                       ->create_datareader(topic, qos);
    if (reader == nullptr) {
      std::cout << "refused endpoint" << std::endl;
      std::_Exit(0);
    }
    uint32_t number = 0;
    SampleInfo info;
    SubscriptionMatchedStatus status;
    while (std::chrono::steady_clock::now() < end) {
      if (reader->wait_for_unread_message({0, 100000000})) {
        while (reader->take_next_sample(&number, &info) == ReturnCode_t::RETCODE_OK)
          received += info.valid_data ? 1 : 0;
      }
      reader->get_subscription_matched_status(status);
      matched = std::max(matched, static_cast<int>(status.total_count));
    }
  }
  std::cout << "matched " << matched << " received " << received << std::endl;
  std::_Exit(0);  // nothing to tidy up in a test
}
